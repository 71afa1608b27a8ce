"""Thawing: a frozen machine wakes up with a payload in its hands, works, and is read out.

Memory and root file system are copies on write of the snapshot's, so any number of guests share
what none of them has changed. Nothing reaches a running guest from outside: what it needs lies
in its inbox before it wakes, what it leaves is read when QEMU has ended. A machine that was kept
in mid-run, a checkpoint, is thawed with something else in its hands, or resumed with the same.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.errors import MicrovmError, UsageError
from harness.vm import mailbox, sparse
from harness.vm.cgroup_limits import oom_kills
from harness.vm.checkpoint import Checkpoint, digest_now, keep
from harness.vm.console import follow, tail
from harness.vm.contract import (
    CHECKPOINT,
    CONTROL_FILE,
    HEARTBEAT,
    INPUTS_FILE,
    OUT_FOLDER,
    PAYLOAD_FILE,
)
from harness.vm.lockstep import Lockstep, lockstep_for
from harness.vm.machine import Clock
from harness.vm.overlay import Overlay
from harness.vm.qemu_process import Emulator
from harness.vm.scratch import Scratch, scratch_root
from harness.vm.snapshot import Snapshot
from harness.vm.vmstate_patch import without_wall_time

_POLL = 0.02
_STOPPED_FOR = 1800.0
"""Seconds for which a QEMU may be stopped (SIGSTOP). Replays that stood still for 20 minutes were
byte-identical (docs/determinism.md)."""
_PANIC = re.compile(r"Kernel panic|BUG: unable to handle|Oops: ")
_OOM = re.compile(r"Out of memory: Killed|Out of memory and no killable")
_FULL = re.compile(r"No space left on device")


class Outcome(StrEnum):
    """How a guest came to its end."""

    FINISHED = "finished"
    """The run returned or failed by itself; see the exit code."""
    HUNG = "hung"
    """It was past one of its deadlines."""
    PANICKED = "panicked"
    """The guest's kernel panicked."""
    OUT_OF_MEMORY = "out of memory"
    """The run failed and the kernel had killed something for want of memory."""
    DISK_FULL = "disk full"
    """The run failed on a full file system, or left more than the outbox holds."""
    DIED = "died"
    """QEMU ended without a result: it crashed, was killed, or the guest powered off early."""


@dataclass(frozen=True)
class GuestResult:
    """What a guest left.

    ``exit_code`` is the run's (negative: the signal that ended it), None if it left none.
    ``folder`` holds the files the run put into its out folder. ``virtual_seconds`` is the
    guest's own time from its thaw to its end; of a guest that brought out no result it is the
    last that its console gave, 0 if none. ``wall_seconds`` is the host's, from the thaw.
    ``console`` is the complete console as a file, ``console_tail`` its end. ``detail`` says in
    words what went wrong, empty for a finished guest. ``out_of_step``: how often QEMU's main loop
    went while the virtual CPU was at work (:mod:`harness.vm.lockstep`); above 0, the guest
    may not be the same again.
    """

    outcome: Outcome
    exit_code: int | None
    folder: Path
    console: Path
    console_tail: str
    virtual_seconds: float
    wall_seconds: float
    detail: str = ""
    out_of_step: int = 0

    @property
    def ok(self) -> bool:
        """Whether the run came to its own end with exit code 0."""
        return self.outcome is Outcome.FINISHED and self.exit_code == 0


@dataclass(frozen=True)
class Stopped:
    """A guest that stands at a checkpoint named ``name``; ``number`` counts them from 1."""

    name: str
    number: int
    _emulator: Emulator
    _source: Snapshot | Checkpoint
    _folder: Path

    def keep(self, facts: Mapping[str, Any], *, note: Mapping[str, str]) -> Checkpoint:
        """Keep the machine as it is now; see :func:`harness.vm.checkpoint.keep`."""
        return keep(self._emulator, self._source, self._folder, facts, note=note)

    def cpu_seconds(self) -> float:
        """Return the CPU time that its QEMU has used since the thaw."""
        return self._emulator.cpu_seconds()

    def digest(self) -> str:
        """Return the sha256 of the whole machine as it is now."""
        return digest_now(self._emulator, self._source, self._folder)


AtCheckpoint = Callable[[Stopped], bool]
"""What the host does while a guest stands at a checkpoint; the guest goes on if it returns True,
and is ended otherwise."""


def pass_by(_stopped: Stopped) -> bool:
    """Have the guest go on."""
    return True


class Guest:
    """A running guest. A context manager: leaving it ends QEMU and removes its scratch files."""

    def __init__(
        self,
        emulator: Emulator,
        source: Snapshot | Checkpoint,
        scratch: Scratch,
        lockstep: Lockstep | None,
        called: float,
        at_checkpoint: AtCheckpoint = pass_by,
    ) -> None:
        self._emulator = emulator
        self._source = source
        self._at_checkpoint = at_checkpoint
        self._trouble: BaseException | None = None
        self._lockstep = lockstep
        self._scratch = scratch.path
        self._own = scratch
        self._called = called
        self._oom_kills = oom_kills()
        self.thaw_seconds = time.monotonic() - called
        """Wall seconds from the call of :func:`thaw` to the guest running."""
        self._stops = threading.Thread(target=self._pass_checkpoints, daemon=True)
        self._stops.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._emulator.process.pid

    @property
    def console(self) -> Path:
        """The console's file while the guest is open."""
        return self._scratch / "console.log"

    def console_lines(self) -> Iterator[str]:
        """Yield the console's lines as they come, until QEMU has ended."""
        lines = follow(self.console)
        while True:
            over = self._emulator.ended() is not None
            yield from lines.fresh()
            if over:
                return
            time.sleep(_POLL)

    def _pass_checkpoints(self) -> None:
        """Let the guest go on each time that it stops, when the host has done what it wants."""
        number = 0
        with contextlib.suppress(MicrovmError):  # QEMU is gone: seen by who waits for the guest
            while self._emulator.ended() is None:
                # Not at GUEST_PANICKED, which comes before: the machine still runs then.
                if self._emulator.qmp.take_event({"STOP"}, 1.0) is None:
                    continue
                number += 1
                stopped = Stopped(
                    _last_checkpoint(self.console), number,
                    self._emulator, self._source, self._scratch,
                )  # fmt: skip
                try:
                    goes_on = self._at_checkpoint(stopped)
                except BaseException as error:  # carried to the caller, whose thread it concerns
                    self._trouble = error
                    goes_on = False
                if not goes_on:
                    self._emulator.kill()
                    return
                self._emulator.go()

    def wait(
        self, folder: Path, *, wall_deadline: float, virtual_deadline: float | None = None
    ) -> GuestResult:
        """Wait for the guest's end and put what it left into ``folder`` (made if need be).

        ``wall_deadline`` is in seconds from the thaw. ``virtual_deadline`` (guest seconds) is a
        second look, by the console's word, at the one that the guest itself keeps: it ends
        a guest whose supervisor is stuck. The folder gets the run's files and ``console.log``;
        :class:`~harness.errors.UsageError` if it holds files of the same names already.
        """
        folder.mkdir(parents=True, exist_ok=True)
        hung = ""
        lines = follow(self.console)
        virtual = 0.0
        stopped = 0.0  # counted by looks: of this process's own stop nothing is QEMU's
        while self._emulator.ended() is None:
            for line in lines.fresh():
                virtual = max(virtual, seconds_in(line))
            if time.monotonic() - self._called > wall_deadline:
                hung = f"the guest was still running after {wall_deadline:g} wall seconds"
            elif virtual_deadline is not None and virtual > virtual_deadline:
                hung = f"the guest was still running after {virtual:g} virtual seconds"
            stopped = stopped + _POLL if self._emulator.stopped() else 0.0
            if stopped > _STOPPED_FOR:
                hung = f"its QEMU was stopped (SIGSTOP) for {_STOPPED_FOR:g} s"
            if hung:
                self._emulator.kill()
                break
            time.sleep(_POLL)
        for line in lines.fresh():
            virtual = max(virtual, seconds_in(line))
        self._stops.join()
        if self._trouble is not None:
            raise self._trouble
        wall = time.monotonic() - self._called
        kept = folder / "console.log"
        shutil.copyfile(self.console, kept)
        result = GuestResult(
            outcome=Outcome.HUNG,
            exit_code=None,
            folder=folder,
            console=kept,
            console_tail=tail(kept),
            virtual_seconds=virtual,
            wall_seconds=wall,
            detail=hung,
            out_of_step=self._lockstep.counted().out_of_step if self._lockstep else 0,
        )
        return result if hung else self._read_out(result)

    def _read_out(self, result: GuestResult) -> GuestResult:
        """``result`` completed with what lies in the outbox, or with why nothing does."""
        try:
            body = mailbox.read_file(self._scratch / "outbox")
            if body is not None:
                return _told(result, body)
            complaint = ""
        except MicrovmError as error:
            complaint = error.what
        outcome = judge_console(result.console.read_bytes().decode(errors="replace"))
        complaint = complaint or self._emulator.complaint()
        code = self._emulator.ended()
        detail = f"the guest left no result ({outcome}); QEMU ended with {code}"
        if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            detail += ", when the kernel was killing processes of this machine for want of memory"
        return replace(
            result, outcome=outcome, detail=f"{detail}: {complaint}" if complaint else detail
        )

    def close(self) -> None:
        """End QEMU if it still runs, and remove the scratch files. Safe to call twice."""
        self._emulator.close()
        self._own.remove()


def _last_checkpoint(console: Path) -> str:
    """Return the name that the guest gave the checkpoint at which it stands."""
    found = [
        line.removeprefix(CHECKPOINT)
        for line in console.read_text(errors="replace").splitlines()
        if line.startswith(CHECKPOINT)
    ]
    if not found:
        raise MicrovmError(f"the guest stopped by itself; the end of its console:\n{tail(console)}")
    return found[-1]


def seconds_in(line: str) -> float:
    """Return the virtual seconds in a console line, 0 if there are none (or not a sane number)."""
    _, found, number = line.partition(HEARTBEAT)
    if found:
        with contextlib.suppress(ValueError):
            value = float(number)
            return value if math.isfinite(value) else 0.0
    return 0.0


def judge_console(text: str) -> Outcome:
    """Say why a guest left no result, by what is on its console."""
    if _PANIC.search(text):
        return Outcome.OUT_OF_MEMORY if _OOM.search(text) else Outcome.PANICKED
    if _OOM.search(text):
        return Outcome.OUT_OF_MEMORY
    return Outcome.DISK_FULL if _FULL.search(text) else Outcome.DIED


def thaw(
    source: Snapshot | Checkpoint,
    payload: bytes | None,
    inputs: Mapping[str, Any],
    *,
    seed: int,
    virtual_deadline: float,
    cpu: int | None = None,
    heartbeat: float = 10.0,
    scratch: Path | None = None,
    serial: socket.socket | None = None,
    idle_in_real_time: bool = False,
    at_checkpoint: AtCheckpoint = pass_by,
) -> Guest:
    """Wake ``source`` with ``payload`` (a tar) and ``inputs`` (what JSON can say).

    Without a payload a snapshot warms up by what the inputs say, and stops at the checkpoint
    behind that. A checkpoint is thawed for something new; :func:`resume` has it go on.

    ``virtual_deadline`` and ``heartbeat`` are in guest seconds: when the guest ends its run, and
    how often it tells the time on the console. ``seed`` decides everything random from the thaw
    on. With the virtual clock QEMU is held on the one CPU ``cpu`` (any of the caller's if None);
    take it from a :class:`~harness.vm.pool.Pool`. ``scratch`` is the folder for the run's
    files, which are removed again; memory-backed by default where there is such a place.

    ``serial`` is QEMU's end of a pair of sockets: the guest's console is then on it in both
    directions, besides the console's file, and what comes in makes the guest unrepeatable.
    ``idle_in_real_time`` lets idle time pass as on the wall (virtual clock only).
    ``at_checkpoint`` is called in a thread of its own.
    """
    control = {"seed": seed, "virtual_deadline": virtual_deadline, "heartbeat": heartbeat}
    contents = {
        CONTROL_FILE: json.dumps(control, sort_keys=True).encode(),
        INPUTS_FILE: json.dumps(dict(inputs), sort_keys=True).encode(),
    }
    body = mailbox.pack(contents if payload is None else {**contents, PAYLOAD_FILE: payload})
    return _wake(
        source,
        body,
        _Way(seed, cpu, scratch, serial, idle_in_real_time, at_checkpoint),
    )


def resume(
    source: Checkpoint,
    *,
    seed: int,
    cpu: int | None = None,
    scratch: Path | None = None,
    at_checkpoint: AtCheckpoint = pass_by,
) -> Guest:
    """Have a checkpoint go on with what it was doing, as if it had never stopped.

    ``seed`` is the one that it was thawed with; the rest as for :func:`thaw`. The guest's console
    begins with what was on it.
    """
    return _wake(source, None, _Way(seed, cpu, scratch, None, False, at_checkpoint))


@dataclass(frozen=True)
class _Way:
    """How a machine is woken; see :func:`thaw`."""

    seed: int
    cpu: int | None
    scratch: Path | None
    serial: socket.socket | None
    idle_in_real_time: bool
    at_checkpoint: AtCheckpoint


def _wake(source: Snapshot | Checkpoint, body: bytes | None, way: _Way) -> Guest:
    """Start QEMU with a machine's memory and state; without ``body`` its inbox and console too."""
    called = time.monotonic()
    machine, qemu = source.machine, source.qemu()
    virtual = machine.clock is Clock.VIRTUAL
    own = Scratch(way.scratch or scratch_root())
    folder = own.path
    try:
        files = source.files(folder)
        if body is not None:
            mailbox.write_file(files.inbox, body, machine.inbox_size)
        elif isinstance(source, Checkpoint):
            sparse.copy(source.inbox, files.inbox)
            shutil.copyfile(source.console, files.console)
        with files.outbox.open("wb") as outbox:
            outbox.truncate(machine.outbox_size)
        lockstep = lockstep_for(machine, source.cache, folder)
        state = source.state
        if virtual and way.idle_in_real_time:
            state = folder / "state"
            state.write_bytes(without_wall_time(source.state.read_bytes()))
        cpu = way.cpu
        if virtual and cpu is None:
            cpu = min(os.sched_getaffinity(0))
        with contextlib.ExitStack() as mapping:
            overlay = None
            if isinstance(source, Checkpoint):
                pages = mapping.enter_context(source.pages())
                overlay = Overlay(pages, source.cache, folder)
            emulator = Emulator(
                qemu,
                [
                    *machine.switches(
                        files,
                        seed=way.seed,
                        private=True,
                        serial=way.serial.fileno() if way.serial else None,
                        idle_in_real_time=way.idle_in_real_time,
                        goes_on=body is None,
                    ),
                    *(overlay.switches if overlay else ()),
                    *("-incoming", "defer"),
                ],
                log=folder / "qemu.log",
                cpu=cpu,
                lockstep=lockstep,
                overlay=overlay,
                pass_fds=[way.serial.fileno()] if way.serial else [],
            )
        try:
            emulator.load_state(state)
            emulator.go()
        except BaseException:
            emulator.close()
            raise
    except OSError as error:
        own.remove()
        raise MicrovmError(
            f"a guest cannot be thawed into {folder.parent}: {error.strerror or error}",
            hint="it needs some 100 MiB there; /dev/shm of a container can be made larger",
        ) from error
    except BaseException:
        own.remove()
        raise
    source.touch()
    return Guest(emulator, source, own, lockstep, called, way.at_checkpoint)


def _told(result: GuestResult, body: bytes) -> GuestResult:
    unpacked = result.folder / ".outbox"
    mailbox.unpack(body, unpacked)
    try:
        report = json.loads((unpacked / CONTROL_FILE).read_text())
        outcome = Outcome(report["outcome"])
        code, seconds = int(report["exit_code"]), float(report["virtual_seconds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MicrovmError(f"the guest's report is not valid: {error}") from error
    out = unpacked / OUT_FOLDER
    for entry in sorted(out.iterdir()) if out.exists() else []:
        if (result.folder / entry.name).exists():
            raise UsageError(
                f"the guest left {entry.name!r}, which {result.folder} already holds",
                hint="give each guest a folder of its own",
            )
        entry.rename(result.folder / entry.name)
    shutil.rmtree(unpacked)
    detail = str(report.get("detail", ""))
    if not detail and outcome is Outcome.HUNG:
        detail = f"the run was still under way after its deadline, {seconds:g} virtual seconds"
    elif not detail and outcome is not Outcome.FINISHED:
        detail = f"the run failed with exit code {code}: {outcome}"
    return replace(result, outcome=outcome, exit_code=code, virtual_seconds=seconds, detail=detail)
