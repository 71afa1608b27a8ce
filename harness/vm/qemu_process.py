"""One running QEMU: start it, hold its control channel."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from harness.errors import MicrovmError
from harness.vm.bound_process import start_bound
from harness.vm.lockstep import Lockstep
from harness.vm.overlay import Overlay
from harness.vm.qemu_binary import Qemu
from harness.vm.qmp import Qmp
from harness.wait import NotYet, wait_for

_ANSWERS_WITHIN = 30.0


class Emulator:
    """A QEMU process that dies with this process. Paused until :meth:`go`.

    With ``lockstep`` its main loop and its virtual CPU keep it; with ``overlay`` its memory is a
    checkpoint's.
    """

    def __init__(
        self,
        qemu: Qemu,
        switches: Sequence[str],
        *,
        log: Path,
        cpu: int | None,
        lockstep: Lockstep | None = None,
        overlay: Overlay | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        ours, theirs = socket.socketpair()
        control = [
            "-chardev", f"socket,id=qmp,fd={theirs.fileno()}",
            "-mon", "chardev=qmp,mode=control",
        ]  # fmt: skip
        arguments = _arguments(qemu, lockstep, overlay)
        self._log = log
        self.qmp = Qmp(ours)
        try:
            with theirs, log.open("wb") as out:
                self.process: subprocess.Popen[bytes] = start_bound(
                    [*arguments, *switches, *control, "-S"],
                    pass_fds=[theirs.fileno(), *pass_fds],
                    log=out,
                    cpu=cpu,
                )
        except BaseException:
            ours.close()
            raise
        try:
            self.qmp.greet(_ANSWERS_WITHIN)
        except (MicrovmError, TimeoutError) as error:
            self.close()
            raise MicrovmError(f"QEMU did not start: {self.complaint() or error}") from error
        if lockstep is not None and not lockstep.counted().known:
            self.close()
            why = self.complaint() or qemu.version
            raise MicrovmError(
                f"this QEMU does not keep in lockstep with its virtual CPU: {why}",
                hint="virtual time needs a QEMU that is linked dynamically, and a cache on a file "
                "system that programs may be run from",
            )

        if overlay is not None:
            try:
                overlay.check(self.process.pid)
            except BaseException:
                self.close()
                raise

    def complaint(self) -> str:
        """Return the last lines of what QEMU itself said."""
        with contextlib.suppress(OSError):
            return " / ".join(self._log.read_text(errors="replace").strip().splitlines()[-3:])
        return ""

    def status(self) -> str:
        """Return QEMU's run state: ``running``, ``inmigrate``, ``guest-panicked``, ..."""
        return str(self.qmp.ask("query-status")["status"])

    def go(self) -> None:
        """Let the virtual CPUs run.

        In lockstep a QEMU answers when its virtual CPU first sleeps. That it runs it says
        at once.
        """
        self.qmp.tell("cont")
        if self.qmp.take_event({"RESUME"}, _ANSWERS_WITHIN) is None:
            raise MicrovmError(f"QEMU did not start its machine: {self.complaint()}")

    def ignore_shared_memory(self) -> None:
        """Leave memory that lies in files out of the state."""
        capability = {"capability": "x-ignore-shared", "state": True}
        self.qmp.ask("migrate-set-capabilities", capabilities=[capability])

    def save_state(self, path: Path) -> None:
        """Write devices and registers to ``path``; the machine has to be stopped."""
        self.ignore_shared_memory()
        self.qmp.ask("migrate", uri=f"exec:cat >'{_in_quotes(path)}'")

        def saved() -> bool | NotYet:
            answer: dict[str, Any] = self.qmp.ask("query-migrate")
            if answer.get("status") == "failed":
                raise MicrovmError(f"QEMU could not save the machine's state to {path}")
            return answer.get("status") == "completed" or NotYet(str(answer.get("status")))

        wait_for(saved, state="the machine's state on disk", within=60, every=0.01)

    def save_devices(self, path: Path) -> None:
        """Write devices and registers to ``path``, without any memory.

        Unlike :meth:`save_state` of a machine whose memory is a private copy. It has to be stopped
        and stays so.
        """
        self.qmp.ask("xen-save-devices-state", filename=str(path), live=False)

    def load_state(self, path: Path) -> None:
        """Take devices and registers from ``path``; the machine is stopped afterwards."""
        self.ignore_shared_memory()
        # There is no network to announce a new place to; and while a timer in real time is due,
        # a virtual CPU in virtual time executes nothing.
        self.qmp.ask("migrate-set-parameters", announce_rounds=0)
        self.qmp.ask("migrate-incoming", uri=f"exec:cat '{_in_quotes(path)}'")

        def loaded() -> bool | NotYet:
            try:
                status = self.status()
            except MicrovmError as error:
                raise MicrovmError(
                    f"QEMU could not load the state in {path}: {self.complaint() or error}",
                    hint="remove the snapshot and freeze again",
                ) from error
            return status != "inmigrate" or NotYet(status)

        wait_for(loaded, state="the machine's state to be loaded", within=60, every=0.002)

    def cpu_seconds(self) -> float:
        """Return the CPU time that QEMU has used; 0 once it has ended."""
        try:
            used = psutil.Process(self.process.pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(used.user + used.system)

    def ended(self) -> int | None:
        """Return QEMU's exit code, None while it runs."""
        return self.process.poll()

    def stopped(self) -> bool:
        """Return whether QEMU was stopped, by SIGSTOP, and not continued yet."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED
        return False

    def kill(self) -> None:
        """End QEMU now. Safe to call at any time and more than once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Kill what still runs and let go of the control channel."""
        self.kill()
        self.qmp.close()


def _arguments(qemu: Qemu, lockstep: Lockstep | None, overlay: Overlay | None) -> tuple[str, ...]:
    """Return the arguments that start QEMU with what is preloaded into it; switches follow."""
    libraries = () if overlay is None else (overlay.library,)
    variables = () if overlay is None else ("env", overlay.environment)
    if lockstep is not None:
        return (*variables, *lockstep.command(qemu, *libraries))
    return (*variables, *(qemu.preloading(*libraries) if libraries else qemu.command))


def _in_quotes(path: Path) -> str:
    return str(path).replace("'", "'\\''")
