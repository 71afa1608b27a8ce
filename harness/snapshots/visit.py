"""One visit to a guest: its console on a socket pair, the request, the output, the end."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import math
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import LabError, MicrovmError, UsageError, WaitTimeout
from harness.guest.contract import (
    PROGRESS,
    SHELL_BEGINS,
    SHELL_READY,
    SHELL_STDERR,
    SHELL_STDOUT,
    SHELL_TROUBLE,
)
from harness.snapshots.branching import branch
from harness.snapshots.job import GuestJob, source_of
from harness.snapshots.terminal import Terminal, pump, raw, write_all
from harness.vm.checkpoint import Checkpoint
from harness.vm.pool import Pool
from harness.vm.snapshot import Snapshot
from harness.vm.thaw import thaw

#: A terminal line in the guest holds what has come only up to a point.
_LONGEST_REQUEST = 32 << 10

#: Seconds that nobody minds to wait.
_SOON = 0.3

#: What the guest may say at once without waiting for this process to read.
_SOCKET_BUFFER = 1 << 20


@dataclass(frozen=True)
class ShellRequest:
    """What a person wants: a ``script`` run, or else a shell on ``terminal``.

    ``node`` is where; None is the guest itself, among all nodes.
    """

    node: str | None = None
    script: str | None = None
    terminal: Terminal | None = None

    def facts(self) -> dict[str, Any]:
        """As the guest takes it."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Visit:
    """A guest to be visited.

    ``inputs`` are what it is thawed with. ``recorded``: the journal of the trial that it runs
    first, held against what the guest then has; ``at`` is the checkpoint up to which it does, None
    for the end of its body. ``idle_in_real_time``: see :func:`thaw`.
    """

    snapshot: Snapshot
    job: GuestJob
    inputs: dict[str, Any]
    recorded: Path | None = None
    at: str | None = None
    idle_in_real_time: bool = False


def visit(
    wanted: Visit, request: ShellRequest, pool: Pool, say: Callable[[str], None]
) -> int | None:
    """Thaw the guest, carry the request out, and return the shell's exit code.

    None: the person ended the guest by Ctrl-]. Raises :class:`MicrovmError` for a guest that
    ends by itself before its shell does, :class:`LabError` for a node that cannot be entered.
    """
    job, snapshot = wanted.job, wanted.snapshot
    if wanted.at is not None and wanted.recorded is not None:
        source: Snapshot | Checkpoint = branch(
            job, snapshot, wanted.at, wanted.recorded.parent, pool, say
        )
    else:
        source = source_of(job, snapshot, pool, watch=say)
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
    with (
        ours,
        theirs,
        tempfile.TemporaryDirectory(prefix="swarm-chaos-shell-") as folder,
        _cpu(pool, say) as cpu,
        thaw(
            source,
            None if wanted.at is not None else wanted.job.payload,
            wanted.inputs,
            seed=wanted.job.seed,
            virtual_deadline=wanted.job.virtual_deadline,
            cpu=cpu,
            serial=theirs,
            idle_in_real_time=wanted.idle_in_real_time,
        ) as guest,
    ):
        theirs.close()  # so that the guest's end is the end of the line
        conversation = Conversation(ours, say, wanted.recorded, wanted.at or "the end of its body")
        if not conversation.carry_out(request):
            return None
        result = guest.wait(Path(folder), wall_deadline=math.inf)
    if result.exit_code is None:
        raise MicrovmError(result.detail)
    return result.exit_code


@contextlib.contextmanager
def _cpu(pool: Pool, say: Callable[[str], None]) -> Iterator[int]:
    """Yield a CPU for the guest; say so if it takes a while."""
    with contextlib.ExitStack() as stack:
        try:
            cpu = stack.enter_context(pool.slot(within=_SOON))
        except WaitTimeout:
            say("every CPU runs a guest; waiting for one that ends (Ctrl-C gives up)")
            cpu = stack.enter_context(pool.slot())
        yield cpu


class Conversation:
    """The host's side of what ``harness.guest.shell`` says; see there."""

    def __init__(
        self,
        line: socket.socket,
        say: Callable[[str], None],
        recorded: Path | None = None,
        where: str = "",
    ) -> None:
        self._where = where
        self._line = line
        self._say = say
        self._recorded = recorded
        self._rest = b""

    def carry_out(self, request: ShellRequest) -> bool:
        """Send the request and serve the guest until it ends; False if the person left first."""
        while (text := self._next()) is not None:
            if text.startswith(SHELL_READY):
                self._answer(json.loads(text.removeprefix(SHELL_READY)), request)
            elif text.startswith(PROGRESS):
                self._say(text.removeprefix(PROGRESS))
            elif text.startswith(SHELL_STDOUT):
                _put(sys.stdout.fileno(), text.removeprefix(SHELL_STDOUT))
            elif text.startswith(SHELL_STDERR):
                _put(sys.stderr.fileno(), text.removeprefix(SHELL_STDERR))
            elif text.startswith(SHELL_TROUBLE):
                raise LabError(json.loads(text.removeprefix(SHELL_TROUBLE)))
            elif text.startswith(SHELL_BEGINS):
                keys, screen = sys.stdin.fileno(), sys.stdout.fileno()
                with raw(keys):
                    write_all(screen, self._rest)
                    ended = pump(self._line, keys, screen)
                os.write(screen, b"\n")
                return ended
        return True

    def _answer(self, facts: dict[str, Any], request: ShellRequest) -> None:
        if self._recorded is not None:
            length, sha256 = int(facts["bytes"]), str(facts["sha256"])
            self._say(judge(self._recorded, length, sha256, self._where))
        self._line.sendall(encode(request))

    def _next(self) -> str | None:
        """Return the console's next line; None when the guest has ended."""
        while b"\n" not in self._rest:
            piece = self._line.recv(65536)
            if not piece:
                return None
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\n")
        return text.decode(errors="replace").rstrip("\r")


def encode(request: ShellRequest) -> bytes:
    """Encode a request as the line for the guest; :class:`UsageError` if it is too long."""
    line = json.dumps(request.facts()).encode() + b"\n"
    if len(line) > _LONGEST_REQUEST:
        raise UsageError(
            f"a script of {len(line) >> 10} KiB is too long to be typed to a guest",
            hint=f"at most {_LONGEST_REQUEST >> 10} KiB with --after",
        )
    return line


def judge(recorded: Path, length: int, sha256: str, where: str = "the end of its body") -> str:
    """Return whether a guest whose journal has this length and digest is in the recorded trial."""
    same = hashlib.sha256(recorded.read_bytes()[:length]).hexdigest() == sha256
    if same:
        return f"the trial is at {where}; its journal is byte-identical to {recorded}"
    return f"beware: the trial took another course than {recorded}"


def _put(descriptor: int, encoded: str) -> None:
    write_all(descriptor, base64.b64decode(encoded))
