"""The guest's side: the program that prepares, freezes the machine it runs on, and wakes up.

The boot command of a freeze calls :func:`serve` with two functions. ``prepare`` brings the guest
to the state that is worth keeping. Then the machine is frozen, in the middle of this very
process, with everything it has imported and holds open; each thaw goes on from there with
``run``, on the payload that the host laid into the inbox meanwhile. A thaw without a payload is
one to ``warm_up`` and to be kept again, as a checkpoint that many runs are thawed from. A run may
pass checkpoints of its own.

A small parent process supervises: it gives the virtual time on the console, ends a run that
is past its deadline, brings the result out and powers the machine off, whatever became of the
run.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import mmap
import os
import random
import select
import signal
import struct
import sys
import termios
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import MicrovmError
from harness.vm import mailbox
from harness.vm.contract import (
    CHECKPOINT,
    CONTROL_FILE,
    FREEZING,
    GUEST_HOME,
    HEARTBEAT,
    INBOX_SIZE,
    INPUTS_FILE,
    OUT_FOLDER,
    OUTBOX_SIZE,
    PAYLOAD_AT,
    PAYLOAD_FILE,
    RUN_STARTS,
    SAYS,
    WARM,
)

_HOME = Path(GUEST_HOME)
_PVPANIC_PORT = 0x505
_RB_AUTOBOOT = 0x01234567
_RNDADDENTROPY = 0x40085203
_RNDRESEEDCRNG = 0x5207
_GRACE = 10.0  # virtual seconds between SIGTERM and SIGKILL of a run past its deadline

Prepare = Callable[[], None]
Run = Callable[[Path, dict[str, Any], Path], int]
WarmUp = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Mailboxes:
    """The guest's device nodes of inbox and outbox, and the outbox's size in bytes."""

    inbox: str
    outbox: str
    outbox_size: int


def say(line: str) -> None:
    """Write one line to the console, which the host reads while the guest runs."""
    with Path("/dev/console").open("w") as console:
        console.write(f"{line}\n")


def find_mailboxes(command_line: str, sizes: Mapping[str, int]) -> Mailboxes:
    """Tell the pmem devices apart by their sizes in bytes (their numbers follow no order).

    ``command_line`` is the kernel's, with ``microvm.inbox=`` and ``microvm.outbox=`` in bytes.
    """
    parameters = dict(word.partition("=")[::2] for word in command_line.split())
    by_size = {size: name for name, size in sizes.items()}
    try:
        inbox = int(parameters[INBOX_SIZE])
        outbox = int(parameters[OUTBOX_SIZE])
        return Mailboxes(f"/dev/{by_size[inbox]}", f"/dev/{by_size[outbox]}", outbox)
    except (KeyError, ValueError) as error:
        raise MicrovmError(f"this guest has no inbox or no outbox: {error}") from error


def _no_warm_up(_inputs: dict[str, Any]) -> None:
    """Leave the machine as it was thawed."""


def serve(
    prepare: Prepare, run: Run, *, warm_up: WarmUp = _no_warm_up, zero_memory: bool = True
) -> NoReturn:
    """Prepare, freeze, and for each thaw run once, bring out the result and end the machine.

    ``run(payload, inputs, out)`` gets the folder of the unpacked payload, the host's inputs, and
    a folder whose contents go back to the host; it returns an exit code. ``prepare`` and ``run``
    happen in one and the same process, so what prepare started is run's own child. A ``run``
    that raises prints its traceback and counts as exit code 70. ``warm_up(inputs)`` is called in a
    thaw that brings no payload; it is frozen again behind that, and thawed with what is to be run,
    or for the next warm-up. Never returns.

    With ``zero_memory`` free pages are cleared before the freeze, so that the snapshot does not
    keep what nobody needs.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    worker = os.fork()
    if worker == 0:
        os.close(reader)
        os._exit(_work(prepare, warm_up, run, writer, zero_memory=zero_memory))
    os.close(writer)
    _supervise(worker, reader)


def freeze() -> None:
    """Ask the host to freeze the machine here and now; returns in every guest thawed from it.

    One OUT to the pvpanic device: the virtual CPU stops right behind it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ioperm(_PVPANIC_PORT, 1, 1) != 0:
        raise MicrovmError(f"no access to the freezing port: {os.strerror(ctypes.get_errno())}")
    code = b"\x89\xfa\x89\xf0\xee\xc3"  # mov %edi,%edx; mov %esi,%eax; out %al,(%dx); ret
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    ctypes.CFUNCTYPE(None, ctypes.c_uint, ctypes.c_uint)(address)(_PVPANIC_PORT, 1)


def checkpoint(name: str) -> dict[str, bytes] | None:
    """Stop here for the host, which may keep the machine as it is now under ``name``.

    The run and what is thawed from the checkpoint go on behind it with one history: it stops here
    whether it is kept or not. Return what lies in the inbox if the host has put something else
    there for a thaw, else None.
    """
    inbox = _devices().inbox
    before = mailbox.read_device_digest(inbox)
    say(f"{CHECKPOINT}{name}")
    _drain_console()
    freeze()
    if mailbox.read_device_digest(inbox) == before:
        return None
    return mailbox.contents(mailbox.read_device(inbox) or b"")


def reseed(seed: int) -> None:
    """Make the kernel's random numbers, and this process's, depend on ``seed`` from here on."""
    noise = hashlib.sha512(f"swarm-chaos {seed}".encode()).digest()
    request = struct.pack(f"ii{len(noise)}s", 8 * len(noise), len(noise), noise)
    with Path("/dev/urandom").open("wb", buffering=0) as device:
        fcntl.ioctl(device, _RNDADDENTROPY, request)
        fcntl.ioctl(device, _RNDRESEEDCRNG)
    random.seed(seed)


def quiesce(*, zero_memory: bool = True) -> None:
    """Write back what is dirty, drop what is only cached, and clear free memory."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
    if zero_memory:
        _clear_free_memory()


def _work(prepare: Prepare, warm_up: WarmUp, run: Run, pipe: int, *, zero_memory: bool) -> int:
    """Prepare, freeze and run; return the worker's exit code."""
    try:
        prepare()
        devices = _devices()
        quiesce(zero_memory=zero_memory)
        say(FREEZING)
        freeze()
        brought = mailbox.contents(_inbox(devices))
        inputs = _begin(brought, pipe)
        while PAYLOAD_FILE not in brought:
            warm_up(inputs)
            again = checkpoint(WARM)
            if again is None:
                return 0
            brought, inputs = again, _begin(again, pipe)
        payload = Path(PAYLOAD_AT)
        mailbox.unpack(brought.pop(PAYLOAD_FILE), payload)
        out = _HOME / OUT_FOLDER
        out.mkdir(parents=True, exist_ok=True)
        say(RUN_STARTS)
        return run(payload, inputs, out)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # a run's own failure must not take the supervisor's report with it
        traceback.print_exc()
        return 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _begin(brought: Mapping[str, bytes], pipe: int) -> dict[str, Any]:
    """Reseed, have the supervisor count from now, and return the inputs."""
    control = json.loads(brought[CONTROL_FILE])
    reseed(int(control["seed"]))
    os.write(pipe, json.dumps(control).encode() + b"\n")
    inputs: dict[str, Any] = json.loads(brought[INPUTS_FILE])
    return inputs


def _inbox(devices: Mailboxes) -> bytes:
    body = mailbox.read_device(devices.inbox)
    if body is None:
        raise MicrovmError("the guest was thawed with an empty inbox")
    return body


def _supervise(worker: int, pipe: int) -> NoReturn:
    """Wait for the worker, bring out what it left and end the machine."""
    Path("/proc/self/oom_score_adj").write_text("-1000")
    control = _read_control(pipe)
    if control is None:  # it ended before it had a trial to run; init says so and ends it
        status = os.waitpid(worker, 0)[1]
        sys.exit(os.waitstatus_to_exitcode(status) & 0xFF or 1)
    kills = _oom_kills()
    while control is not None:
        started = time.monotonic()
        deadline, heartbeat = float(control["virtual_deadline"]), float(control["heartbeat"])
        ended, hung = _watch(worker, pipe, deadline, heartbeat)
        # Thawed again, behind its warm-up: the run's time begins now.
        control = None if ended else _read_control(pipe)
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    report = {
        "outcome": _outcome(code, hung=hung, oom=_oom_kills() > kills),
        "exit_code": code,
        "virtual_seconds": round(time.monotonic() - started, 6),
    }
    # Whatever the run left behind is stopped, so that no file changes while it is read.
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGSTOP)
    _bring_out(report)
    end_machine()


def _read_control(pipe: int) -> dict[str, Any] | None:
    """Return what the worker passes on of its next thaw; None if it ended before."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(pipe, 4096)
        if not piece:
            return None
        line += piece
    control: dict[str, Any] = json.loads(line)
    return control


def _watch(worker: int, pipe: int, deadline: float, heartbeat: float) -> tuple[bool, bool]:
    """Return whether the worker has ended (else it may begin anew), and whether it was killed."""
    process = os.pidfd_open(worker)
    waiting = select.poll()
    waiting.register(process, select.POLLIN)
    waiting.register(pipe, select.POLLIN)
    started = time.monotonic()
    beats = 0
    hung = False
    while True:
        elapsed = time.monotonic() - started
        due = deadline + (_GRACE if hung else 0.0)
        if elapsed >= due:
            os.kill(worker, signal.SIGKILL if hung else signal.SIGTERM)
            if hung:
                break
            hung = True
            continue
        following = min((beats + 1) * heartbeat, due)
        ready = {number for number, _ in waiting.poll(max(1.0, 1000 * (following - elapsed)))}
        if process in ready:
            break
        if ready:
            os.close(process)
            return False, hung
        if time.monotonic() - started >= (beats + 1) * heartbeat:
            beats += 1
            say(f"{HEARTBEAT}{beats * heartbeat:g}")
    os.close(process)
    return True, hung


def _outcome(code: int, *, hung: bool, oom: bool) -> str:
    if hung:
        return "hung"
    if code == 0:
        return "finished"
    if oom:
        return "out of memory"
    for place in ("/", "/tmp", "/run"):
        room = os.statvfs(place)
        if room.f_bavail * 100 < room.f_blocks:
            return "disk full"
    return "finished"


def _bring_out(report: dict[str, Any]) -> None:
    devices = _devices()
    out = _HOME / OUT_FOLDER
    files: dict[str, bytes | Path] = {
        f"{OUT_FOLDER}/{path.relative_to(out)}": path
        for path in (out.rglob("*") if out.exists() else [])
        if path.is_file() and not path.is_symlink()
    }
    try:
        left = {**files, CONTROL_FILE: json.dumps(report).encode()}
        mailbox.write_device(devices.outbox, devices.outbox_size, left)
    except (MicrovmError, OSError) as error:
        detail = error.what if isinstance(error, MicrovmError) else str(error)
        say(f"{SAYS}{detail}")
        report = {**report, "outcome": "disk full", "detail": detail}
        alone = {CONTROL_FILE: json.dumps(report).encode()}
        mailbox.write_device(devices.outbox, devices.outbox_size, alone)


def end_machine() -> NoReturn:
    """Let the console drain and end the machine, by a restart that QEMU takes for its end.

    A virtual CPU that turns the power off goes on, busy waiting for it, and QEMU's main loop has
    its turn when the virtual CPU stops; that which asks for a restart stops there and then.
    """
    _drain_console()
    ctypes.CDLL(None).reboot(ctypes.c_int(_RB_AUTOBOOT))
    raise SystemExit(1)


def _drain_console() -> None:
    """Return when the host has all that was said."""
    console = os.open("/dev/console", os.O_WRONLY | os.O_NOCTTY)
    termios.tcdrain(console)
    os.close(console)


def _devices() -> Mailboxes:
    sizes = {
        folder.name: int((folder / "size").read_text()) * 512
        for folder in Path("/sys/block").glob("pmem*")
    }
    return find_mailboxes(Path("/proc/cmdline").read_text(), sizes)


def _oom_kills() -> int:
    for line in Path("/proc/vmstat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return 0


def _clear_free_memory() -> None:
    """Have the kernel hand out (and so clear) almost every free page once, then take them back.

    In a process of its own, first in line should the machine run short.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    wanted = free - (96 << 20)
    pid = os.fork()
    if pid == 0:
        Path("/proc/self/oom_score_adj").write_text("1000")
        held = []
        while wanted > 0:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
            held.append(mmap.mmap(-1, 32 << 20, flags=flags))
            wanted -= 32 << 20
        os._exit(0)
    os.waitpid(pid, 0)
