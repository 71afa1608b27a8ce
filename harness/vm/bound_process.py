"""Child processes that do not outlive this one, whatever ends it.

The kernel kills such a child when the *thread* that started it ends, so all of them are started
by one thread that lives as long as the process.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import IO

from harness.errors import MissingError

# Runs between setpriv and the program: the parent may have died before the kernel was asked to
# watch it, and then nobody would send the signal.
_GUARD = '[ "$PPID" = "$0" ] || exit 125; exec "$@"'

_Job = tuple[list[str], tuple[int, ...], "IO[bytes]", "Future[subprocess.Popen[bytes]]"]
_jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
_lock = threading.Lock()
_starter_pid = 0


def start_bound(
    command: Sequence[str], *, pass_fds: Sequence[int], log: IO[bytes], cpu: int | None
) -> subprocess.Popen[bytes]:
    """Start ``command`` with SIGKILL coming to it when this process ends.

    It gets its own session (a Ctrl-C at the terminal is this process's to handle), the
    descriptors ``pass_fds``, standard output and error into ``log``, and, with ``cpu``, that one
    CPU from its first instruction on.
    """
    for program in ("setpriv", "taskset"):
        if shutil.which(program) is None:
            raise MissingError(
                f"running a guest needs {program}", hint="apt-get install util-linux"
            )
    full = ["setpriv", "--pdeathsig", "KILL"]
    if cpu is not None:
        full += ["taskset", "-c", str(cpu)]
    full += ["sh", "-c", _GUARD, str(os.getpid()), *command]
    answer: Future[subprocess.Popen[bytes]] = Future()
    _ensure_starter()
    _jobs.put((full, tuple(pass_fds), log, answer))
    return answer.result()


def _ensure_starter() -> None:
    global _starter_pid, _jobs
    with _lock:
        if _starter_pid != os.getpid():  # also true in a fork of a process that had one
            _jobs = queue.SimpleQueue()
            _starter_pid = os.getpid()
            threading.Thread(target=_starter, args=(_jobs,), daemon=True, name="starter").start()


def _starter(jobs: queue.SimpleQueue[_Job]) -> None:
    while True:
        command, pass_fds, log, answer = jobs.get()
        try:
            answer.set_result(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=pass_fds,
                    start_new_session=True,
                )
            )
        except BaseException as error:  # carried to the caller, whose thread it concerns
            answer.set_exception(error)
