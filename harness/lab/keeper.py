"""The keeper: process 1 of a lab's pid namespace, and what starts it and is started through it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.engine import Engine
from harness.errors import LabError
from harness.lab import janitor as janitor_script
from harness.lab.network import PREFIX, mac_of
from harness.lab.nsenter import Completed, complete, entering, joining
from harness.lab.topology import Place
from harness.wait import Deadline

#: Real seconds for a node's namespaces to come up; a loaded machine takes a few tenths.
_UP_WITHIN = 30.0


@dataclass(frozen=True)
class Keeper:
    """The processes that keep a lab up, as pids of the host."""

    lab_id: str
    lab_dir: Path
    janitor: int
    keeper: int

    @property
    def scripts(self) -> Path:
        """The lab's own copy of what brings nodes up.

        A process that attaches later may be imported from an archive, where there are no files.
        """
        return self.lab_dir / "scripts"

    @property
    def fabric(self) -> str:
        """The fabric's network namespace, as a path."""
        return f"/proc/{self.keeper}/ns/net"

    passing = ()
    """Frames that another part of the fabric decides on: none, it is whole."""

    def run_on_fabric(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout: float = 60.0
    ) -> Completed:
        """Run a program in the fabric's network namespace, whatever it ends with."""
        inside = entering(self.keeper, ("net",), argv)
        return complete(inside, shown=argv, where="the fabric", stdin=stdin, timeout=timeout)

    def in_fabric(self, argv: Sequence[str]) -> None:
        """Run a program in the fabric's network namespace; :class:`LabError` if it fails."""
        done = subprocess.run(
            entering(self.keeper, ("net",), argv), capture_output=True, check=False
        )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise LabError(f"on the fabric, `{' '.join(argv)}` failed: {said}")

    def bring_up_node(
        self, place: Place, address: str, folder: Path, engine: Engine, groups: Sequence[Path]
    ) -> int:
        """Start a node's init and return its pid as the host counts."""
        flags = ("--mount", "--uts", "--ipc", "--net", "--cgroup", "--pid")
        script = [
            *("sh", str(self.scripts / "node-up.sh"), place.name, str(folder), str(engine.rootfs)),
            *(self.fabric, f"{address}/{PREFIX}", mac_of(address), engine.cgroups),
        ]
        return self._bring_up(place.name, flags, script, groups, folder / "init.log")

    def bring_up_client_host(self, name: str, address: str, groups: Sequence[Path]) -> int:
        """Start the process that holds a client host's network and return its pid."""
        script = [
            *("sh", str(self.scripts / "client-host-up.sh"), name, self.fabric),
            *(f"{address}/{PREFIX}", mac_of(address)),
        ]
        return self._bring_up(name, ("--net",), script, groups, self.lab_dir / f"{name}.log")

    def _bring_up(
        self,
        name: str,
        flags: Sequence[str],
        script: Sequence[str],
        groups: Sequence[Path],
        log: Path,
    ) -> int:
        # The shell ends at once, so what it started comes to the keeper and not to us.
        fork = ("--fork", "--kill-child") if "--pid" in flags else ()
        unshare = ["unshare", *flags, *fork, "--", *script]
        argv = joining(
            groups, entering(self.keeper, ("pid",), ["sh", "-c", '"$@" &', "sh", *unshare])
        )
        said = []
        with log.open("wb") as errors:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
            assert process.stdout is not None
            with process.stdout as words:
                for line in _lines(words, Deadline(_UP_WITHIN)):
                    said.append(line)
                    if line == "ready":
                        break
            process.wait()
        if "ready" not in said:
            why = log.read_text(errors="replace").strip() or f"its only output was {said}"
            raise LabError(f"{name} did not come up: {why}")
        return int(said[0].removeprefix("pid "))


def _lines(stream: IO[bytes], deadline: Deadline) -> Iterator[str]:
    """Lines of a pipe as they come, until its end or the deadline."""
    rest = b""
    while not deadline.expired:
        readable, _, _ = select.select([stream], [], [], deadline.remaining)
        if not readable or not (chunk := os.read(stream.fileno(), 4096)):
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode() for line in lines)


def start_janitor(lab_dir: Path, lab_id: str) -> tuple[subprocess.Popen[bytes], Keeper]:
    """Start a lab's janitor, and through it the keeper; :class:`LabError` if it fails."""
    janitor = subprocess.Popen(
        [
            *("unshare", "--mount", "--propagation", "private", "--"),
            *(sys.executable, "-I", "-S", janitor_script.__file__, str(lab_dir), lab_id),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert janitor.stdin is not None
    assert janitor.stdout is not None
    assert janitor.stderr is not None
    with janitor.stderr as errors:
        said = next(_lines(janitor.stdout, Deadline(_UP_WITHIN)), "")
        if said.startswith("ready "):
            return janitor, Keeper(lab_id, lab_dir, janitor.pid, int(said.split()[1]))
        janitor.stdin.close()  # at which it removes what it made
        complaint = errors.read().decode(errors="replace").strip().splitlines()
    janitor.stdout.close()
    janitor.wait()
    why = said.removeprefix("failed ") or (complaint[-1] if complaint else "no output")
    raise LabError(f"the lab did not come up: {why}")
