"""Look at processes that may end at any moment, also between two readings of /proc.

Opening a file of a process that is gone raises ``FileNotFoundError``; reading one that was opened
in time raises ``ProcessLookupError``. Both are an ``OSError``, and neither is one's own mistake.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def proc_bytes(pid: int, name: str) -> bytes:
    """Return the content of ``/proc/PID/name``; empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def proc_text(pid: int, name: str) -> str:
    """Return the content of ``/proc/PID/name`` as text; empty for a process that is gone."""
    return proc_bytes(pid, name).decode(errors="replace")


def state_letter(pid: int) -> str:
    """Return what a process does, as proc(5) has it: "S" sleeps, "T" is stopped; "" if gone."""
    _, _, fields = proc_text(pid, "stat").rpartition(") ")
    return fields[:1]


def running(pid: int) -> bool:
    """Return whether a process runs: a zombie, which has only to be reaped, does not."""
    return state_letter(pid) not in ("", "Z", "X")


def running_with(*words: bytes) -> Iterator[int]:
    """Give the pids that have one of ``words`` in environment, command line or control group."""
    for pid in all_pids():
        known = b"".join(proc_bytes(pid, name) for name in ("environ", "cmdline", "cgroup"))
        if any(word in known for word in words) and pid != os.getpid() and running(pid):
            yield pid


def all_pids() -> list[int]:
    """Return the pids that there are."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
