"""Restarts: of the same engine, with other flags, as another engine, or after a power cut."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from harness.engine import KNOWN, Engine, EngineFacts, engine_at, provide, resolve, same_release
from harness.errors import FaultError, HarnessError
from harness.faults.node_fault import DOCKERD, NodeFault
from harness.faults.parameter import FLAGS, NAME, Named, parameter, state
from harness.faults.process.processes import command_of
from harness.images import Cache
from harness.lab import Node
from harness.swarm import ask


class DockerdRestarted(NodeFault):
    """dockerd is stopped gracefully and started again, with more flags if some are given."""

    name = "dockerd-restarted"
    summary = "Stops dockerd gracefully and starts it again, with more flags if some are given."
    proof = "another pid, whose command line has the flags, answers; healed: it no longer has them"
    excludes = (DOCKERD,)

    flags: Sequence[str] = parameter(
        FLAGS, 'more flags for dockerd, such as "--debug"', default="", kw_only=False
    )
    _before: int = state(0)

    def precheck(self) -> None:
        """Require a running dockerd."""
        self.require_dockerd()
        self._before = self.node.dockerd.pid

    def apply(self) -> None:
        """Stop it and start it with the flags."""
        self.node.dockerd.stop()
        self.node.start(self.flags)

    def evidence(self) -> str:
        """Check that another process answers, and that it was given the flags."""
        pid = self.node.dockerd.pid
        if pid == self._before:
            raise FaultError(f"dockerd on {self.node.name} is still the process {pid}")
        if missing := [flag for flag in self.flags if flag not in command_of(pid)]:
            raise FaultError(f"dockerd on {self.node.name} runs without {shlex.join(missing)}")
        said = f" with {shlex.join(self.flags)}" if self.flags else ""
        return f"pid {self._before} is gone, pid {pid} runs{said}, {self.answers()}"

    def undo(self) -> None:
        """Start it without them, unless it runs so already."""
        if self._has_flags():
            self.node.dockerd.stop()
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that it answers, without the flags."""
        answered = self.answers()
        if self._has_flags():
            raise FaultError(f"dockerd on {self.node.name} still has {shlex.join(self.flags)}")
        return answered

    def _has_flags(self) -> bool:
        if not self.flags or not self.node.up or not self.node.dockerd.alive:
            return False
        return any(flag in command_of(self.node.dockerd.pid) for flag in self.flags)


def _engine_name(text: str) -> str:
    resolve(NAME.read(text))  # an unknown name is refused here
    return text


_ENGINE = Named[Engine | str](_engine_name, lambda value: isinstance(value, Engine))


class EngineChanged(NodeFault):
    """A node goes on with another engine over the same state, as after an upgrade and a reboot.

    ``engine``: an :class:`~harness.engine.Engine`, or the name of one. Healed by going back the
    same way; :meth:`settle` has it stay.
    """

    name = "engine-changed"
    summary = "A node is shut down and comes back with another engine over the same state."
    proof = "the API reports the other version; healed: it reports the former one again"
    excludes = (DOCKERD, "the engine")
    needed_to_heal = ("former",)

    engine: Engine | str = parameter(
        _ENGINE, "a version, stable, newest, oldest or dir:PATH", kw_only=False
    )
    former: str = state("")
    """The root file system of the engine that the node had before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.former = _root_of(self.node)

    def describe(self) -> dict[str, Any]:
        """Return the node, its engine and the other one."""
        wanted = self.engine if isinstance(self.engine, str) else self.engine.version
        return {"target": self.target_name, "engine": wanted, "former": self.node.engine.version}

    def precheck(self) -> None:
        """Require a running dockerd; find the other engine, or build it."""
        self.require_dockerd()
        if not _root_of(self.node):
            raise FaultError(
                f"{self.node.name} runs {self.node.engine.source}: it could not go back to it",
                hint="take an engine that the harness has built: `swarm-chaos engines` lists them",
            )
        if isinstance(self.engine, str):
            self.engine = _engine_for(self.node, self.engine)
        if not self.engine.rootfs.is_dir():
            raise FaultError(f"there is no engine in {self.engine.rootfs}")
        self.former = _root_of(self.node)

    def apply(self) -> None:
        """Stop dockerd gracefully, switch the node off, and on again with the other engine."""
        assert isinstance(self.engine, Engine)
        self._change_to(self.engine)

    def evidence(self) -> str:
        """Check that the API itself reports the version."""
        return self._reports(self.node.engine)

    def undo(self) -> None:
        """Go back the same way, unless the node has its former engine already."""
        if _root_of(self.node) != self.former:
            self._change_to(engine_at(Path(self.former)))
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that the API reports the version of the node's engine."""
        return self._reports(self.node.engine)

    def settle(self) -> None:
        """Keep the other engine, as an upgrade does: the heal will not go back."""
        self.former = _root_of(self.node)
        self.heal()

    def _change_to(self, engine: Engine) -> None:
        if self.node.up:
            with suppress(HarnessError):  # if it does not stop gracefully, it ends with the node
                self.node.dockerd.stop()
            self.node.kill()
        self.node.install(engine)
        self.node.start()

    def _reports(self, engine: EngineFacts) -> str:
        version = ask(self.node, lambda api: api.version())["Version"]
        if not same_release(version, engine.version):
            raise FaultError(f"{self.node.name} reports version {version}, not {engine.version}")
        return f"{self.node.name} reports version {version}"


class PowerCut(NodeFault):
    """The power of a node goes: every process dies, and what was not synced is lost.

    Lost is what lies in folders with a disk of their own (``own-disk``). All else of a node lies
    in files of this machine, whose page cache keeps its power: for these it is no more
    than ``node-killed``. Disks that lie about having synced, and torn writes, are not
    simulated.
    """

    name = "power-cut"
    summary = "Every process of a node dies, and what was not synced on its own disks is lost."
    needs = ("a folder with a disk of its own (own-disk)",)
    proof = "no process is left, the disks refuse writes; healed: an unsynced file is not there"
    excludes = (DOCKERD,)
    recorded = ("folders",)
    needed_to_heal = ("folders",)

    #: Written right before the cut and never synced.
    MARK: ClassVar = "unsynced-by-swarm-chaos"

    folders: list[str] = state(factory=list)

    def precheck(self) -> None:
        """Require that the node is on, and has a disk of its own."""
        self.require_up()
        self.folders = list(self.node.here.disks)
        if not self.folders:
            raise FaultError(
                f"{self.node.name} has no disk of its own: nothing would be lost",
                hint="inject own-disk first; node-killed kills a node and loses nothing",
            )

    def apply(self) -> None:
        """Write something, shut the disks down, kill the node."""
        for folder in self.folders:
            self._file(folder).write_text("this was never synced\n")
        self.node.here.disks.shut_down()
        for folder in self.folders:
            try:
                self._file(folder).with_suffix(".late").write_text("")
            except OSError:
                continue
            raise FaultError(f"{folder} on {self.node.name} still takes writes")
        self.node.kill()

    def evidence(self) -> str:
        """Check that no process is left; that the disks refuse writes was seen in :meth:`apply`."""
        if self.node.up:
            raise FaultError(f"{self.node.name} is still on")
        return f"{self.node.name} has no process left, {', '.join(self.folders)} refused a write"

    def undo(self) -> None:
        """Switch it on: journals are replayed, dockerd starts over what was synced."""
        self.restore()

    def evidence_of_healing(self) -> str:
        """Check that what was not synced is gone, and that the API answers."""
        for folder in self.folders:
            if folder in self.node.here.disks and self._file(folder).exists():
                self._file(folder).unlink()
                raise FaultError(f"{folder} on {self.node.name} has lost nothing")
        return f"what was not synced is lost, {self.answers()}"

    def _file(self, folder: str) -> Path:
        return Path(f"/proc/{self.node.here.pid}/root{folder}/{self.MARK}")


def _root_of(node: Node) -> str:
    """The root file system of the engine that a node has; "" if it came as an image."""
    return str(node.engine.rootfs) if isinstance(node.engine, Engine) else ""


def _engine_for(node: Node, name: str) -> Engine:
    """The engine of this name: next to the node's own (in a guest), from the cache, or built."""
    versions = {known.version for known in KNOWN if name in (known.version, *known.aliases)}
    for place in sorted(Path(_root_of(node)).parent.iterdir()):
        with suppress(HarnessError):
            found = engine_at(place)
            if found.name == name or any(same_release(found.version, v) for v in versions):
                return found
    return provide(resolve(name), Cache())
