"""A Python process that has imported what a program needs, and waits for the program's name.

Importing Locust takes an emulated guest more of its CPU than a minute of Locust's requests. So a
guest is frozen with such a process in it, and a trial's load starts at once. Whoever starts a
program on a client host gets that process where one waits, and a new one elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import LabError

#: What a waiting process runs. It prints that it is ready, then reads one line of JSON and becomes
#: the program that is named there. Its standard input stays open behind that line: a
#: program's own way to learn that its parent is dead. It enters the network by a bare
#: system call: pyroute2 would look for libc with a child process, and here gevent may have
#: patched what starts one.
_PROGRAM = """
import ctypes, importlib, json, os, random, runpy, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
old = os.environ.get("PYTHONPATH", "").split(":")
above = [place for place in sys.path if place not in old]
os.write(1, b"ready\\n")
line = b""
while not line.endswith(b"\\n"):
    piece = os.read(0, 1 << 16)
    if not piece:
        sys.exit(0)
    line += piece
command = json.loads(line)
log = os.open(command["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
os.dup2(log, 1)
os.dup2(log, 2)
os.close(log)
for group in command["groups"]:
    with open(f"{group}/cgroup.procs", "w") as members:
        members.write("0")
network = os.open(f"/proc/{command['pid']}/ns/net", os.O_RDONLY)
libc = ctypes.CDLL(None, use_errno=True)
if libc.setns(network, 0x40000000) != 0:
    raise OSError(ctypes.get_errno(), "cannot enter the client host's network")
os.close(network)
os.chdir(command["folder"])
os.environ.clear()
os.environ.update(command["environment"])
sys.path[:] = [*filter(None, os.environ.get("PYTHONPATH", "").split(":")), *above]
random.seed()
runpy.run_module(command["module"], run_name="__main__", alter_sys=True)
"""


class WarmProcess:
    """One waiting process, a child of this one."""

    def __init__(self, imports: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, *imports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        self._process.stdout.close()
        if said != b"ready\n":
            self.dismiss()
            raise LabError(f"a process that was to import {', '.join(imports)} ended before that")

    def become(
        self,
        module: str,
        *,
        pid: int,
        groups: Sequence[Path],
        environment: Mapping[str, str],
        log: Path,
    ) -> subprocess.Popen[bytes] | None:
        """Have it run ``module`` in the network of process ``pid``, a member of ``groups``.

        Its output goes to the file ``log``; its random generator is reseeded. Returns None when the
        process has ended.
        """
        command = {
            "module": module,
            "pid": pid,
            "groups": [str(group) for group in groups],
            "environment": dict(environment),
            "log": str(log.absolute()),
            "folder": str(Path.cwd()),
        }
        if self._process.poll() is not None:
            return None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            self.dismiss()
            return None
        return self._process

    def dismiss(self) -> None:
        """End it; safe to call twice."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process.kill()
        self._process.wait()


_waiting: list[WarmProcess] = []


def keep_warm(imports: Sequence[str], environment: Mapping[str, str]) -> None:
    """Start one more process that waits with ``imports`` done; returns when they are.

    ``environment`` is added to this process's while they are imported.
    """
    _waiting.append(WarmProcess(imports, environment))


def take_warm() -> WarmProcess | None:
    """Return a waiting process, which is then the caller's; None if none waits."""
    return _waiting.pop() if _waiting else None
