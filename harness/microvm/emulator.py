"""One running QEMU: start it, hold its control channel, keep its threads in order."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import MicrovmError
from harness.microvm.process import start_bound
from harness.microvm.qmp import Qmp
from harness.wait import NotYet, wait_for

_ANSWERS_WITHIN = 30.0


class Emulator:
    """A QEMU process that dies with this process. Paused until :meth:`go`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        cpu: int | None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        ours, theirs = socket.socketpair()
        control = [
            "-chardev", f"socket,id=qmp,fd={theirs.fileno()}",
            "-mon", "chardev=qmp,mode=control",
        ]  # fmt: skip
        self._log = log
        self.qmp = Qmp(ours)
        try:
            with theirs, log.open("wb") as out:
                self.process: subprocess.Popen[bytes] = start_bound(
                    [*command, *control, "-S"],
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
            self.kill()
            raise MicrovmError(f"QEMU did not start: {self.complaint() or error}") from error

    def complaint(self) -> str:
        """The last lines of what QEMU itself said."""
        with contextlib.suppress(OSError):
            return " / ".join(self._log.read_text(errors="replace").strip().splitlines()[-3:])
        return ""

    def status(self) -> str:
        """QEMU's run state: ``running``, ``inmigrate``, ``guest-panicked``, ..."""
        return str(self.qmp.ask("query-status")["status"])

    def keep_order(self) -> str:
        """Have QEMU's main loop and its virtual CPU take turns on their one CPU.

        QEMU's jump over idle time is wrong when the main loop starts it while the virtual CPU
        has halted but not yet accounted for what it executed. With both on one CPU that takes
        a main loop that is ready to run just then.

        Where this user may (root, or a limit on real-time priority), the main loop gets
        SCHED_FIFO: it runs for microseconds at a time, at the very moment the virtual CPU wakes
        it, whatever else wants the CPU, and is asleep when the virtual CPU halts. Else it gets
        SCHED_IDLE and runs when the virtual CPU sleeps, which on a CPU that others fight for
        is only nearly always. Returns which: ``fifo`` or ``idle``.
        """
        vcpus = {int(cpu["thread-id"]) for cpu in self.qmp.ask("query-cpus-fast")}
        tasks = [int(task.name) for task in Path(f"/proc/{self.process.pid}/task").iterdir()]
        order = "fifo"
        for task in tasks:
            if task in vcpus:
                continue
            try:
                if order == "fifo":
                    os.sched_setscheduler(task, os.SCHED_FIFO, os.sched_param(1))
                    continue
            except PermissionError:
                order = "idle"
            except ProcessLookupError:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.sched_setscheduler(task, os.SCHED_IDLE, os.sched_param(0))
        return order

    def go(self) -> None:
        """Let the virtual CPUs run."""
        self.qmp.ask("cont")

    def ignore_shared_memory(self) -> None:
        """Leave memory that lies in files out of the state."""
        capability = {"capability": "x-ignore-shared", "state": True}
        self.qmp.ask("migrate-set-capabilities", capabilities=[capability])

    def save_state(self, path: Path) -> None:
        """Write devices and registers to ``path``; the machine has to stand still."""
        self.ignore_shared_memory()
        self.qmp.ask("migrate", uri=f"exec:cat >'{_in_quotes(path)}'")

        def saved() -> bool | NotYet:
            answer: dict[str, Any] = self.qmp.ask("query-migrate")
            if answer.get("status") == "failed":
                raise MicrovmError(f"QEMU could not save the machine's state to {path}")
            return answer.get("status") == "completed" or NotYet(str(answer.get("status")))

        wait_for(saved, state="the machine's state on disk", within=60, every=0.01)

    def load_state(self, path: Path) -> None:
        """Take devices and registers from ``path``; the machine stands still afterwards."""
        self.ignore_shared_memory()
        self.qmp.ask("migrate-incoming", uri=f"exec:cat '{_in_quotes(path)}'")

        def loaded() -> bool | NotYet:
            try:
                status = self.status()
            except MicrovmError as error:
                raise MicrovmError(
                    f"QEMU could not take up the state in {path}: {self.complaint() or error}",
                    hint="remove the snapshot and freeze again",
                ) from error
            return status != "inmigrate" or NotYet(status)

        wait_for(loaded, state="the machine's state taken up", within=60, every=0.002)

    def ended(self) -> int | None:
        """QEMU's exit code, None while it runs."""
        return self.process.poll()

    def kill(self) -> None:
        """End QEMU now. Safe to call at any time and more than once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Kill what still runs and let go of the control channel."""
        self.kill()
        self.qmp.close()


def _in_quotes(path: Path) -> str:
    return str(path).replace("'", "'\\''")
