"""The library that keeps QEMU's threads in lockstep, in a process that does what QEMU does.

Its main thread waits with a lock for the other to be there (QEMU: for its virtual CPU), the other
sleeps with the same lock until it is kicked, then works without the lock, and sleeps again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from optionals import not_none

from harness.errors import MicrovmError
from harness.images import Cache
from harness.images.compiler import (
    compile_library,
    debian_compiler,
    without_executable_stack,
)
from harness.images.debian_qemu import debian_qemu
from harness.vm.lockstep import SOURCE, Lockstep, provide_lockstep
from harness.vm.qemu_binary import Qemu
from harness.vm.qemu_process import Emulator

pytestmark = pytest.mark.integration

#: Prints, in order, what the threads do. Calls with a GIL between them are ctypes' own.
PROCESS = """
import ctypes, json, sys, threading, time

libc = ctypes.CDLL(None)
big, kick, there = (ctypes.create_string_buffer(64) for _ in range(3))
did, state = [], {"created": False, "kicked": False, "end": False}
WORK = float(sys.argv[1])

def virtual_cpu():
    libc.pthread_mutex_lock(big)
    state["created"] = True
    libc.pthread_cond_signal(there)
    while not state["end"]:
        while not state["kicked"]:
            libc.pthread_cond_wait(kick, big)
        state["kicked"] = False
        libc.pthread_mutex_unlock(big)
        did.append("works")
        end = time.thread_time() + WORK
        while time.thread_time() < end:  # patience is counted in work, too
            pass
        did.append("has worked")
        libc.pthread_mutex_lock(big)
    libc.pthread_mutex_unlock(big)

libc.pthread_mutex_lock(big)
thread = threading.Thread(target=virtual_cpu)
thread.start()
while not state["created"]:
    libc.pthread_cond_wait(there, big)
libc.pthread_mutex_unlock(big)
for turn in range(5):
    libc.pthread_mutex_lock(big)
    did.append("turn")
    state["kicked"], state["end"] = True, turn == 4
    libc.pthread_cond_broadcast(kick)
    libc.pthread_mutex_unlock(big)
thread.join()
print(json.dumps(did))
"""


#: The same, and its main thread looks whether a pipe has something to read, which it has.
LOOKING = PROCESS.replace(
    """for turn in range(5):
    libc""",
    """readable, written = os.pipe()
os.write(written, b".")
watched = (ctypes.c_int * 2)(readable, 1)
for turn in range(5):
    libc.ppoll(watched, 1, None, None)
    did.append("look")
    libc""",
).replace("import ctypes, json", "import ctypes, json, os")

#: A third thread of such a process, as QEMU's monitor has one: how long it looks, in seconds,
#: with a pipe that has something to read, and a socket that has nothing, and then something. The
#: second is looked at more than once: a busy machine may take the CPU away in the midst of one.
MONITOR = PROCESS.replace(
    "for turn in range(5):",
    """looked = []

def monitor():
    readable, written = os.pipe()
    os.write(written, b".")
    here, there = socket.socketpair()
    watched = (ctypes.c_int * 4)(readable, 1, here.fileno(), 1)
    for _ in range(11):
        began = time.monotonic()
        libc.ppoll(watched, 2, None, None)
        looked.append(time.monotonic() - began)
        there.send(b".")

third = threading.Thread(target=monitor)
third.start()
third.join()
print(json.dumps(looked))
sys.stdout.flush()
for turn in range(5):""",
).replace("import ctypes, json", "import ctypes, json, os, socket")


def run(library: Path, folder: Path, work: float, *, process: str = PROCESS) -> Any:
    lockstep = Lockstep(library, folder)
    words = lockstep.command(Qemu("none", (sys.executable, "-c", process, str(work))))
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    return json.loads(done.stdout.splitlines()[0]), lockstep.counted()


def test_the_main_loop_waits_until_the_virtual_cpu_sleeps(tmp_path: Path) -> None:
    did, counted = run(provide_lockstep(Cache(), say=print), tmp_path, 0.05)
    assert did == ["turn", "works", "has worked"] * 5
    assert counted.known
    assert counted.turns == 5
    assert counted.out_of_step == 0


def test_without_it_the_main_loop_would_not_wait(tmp_path: Path) -> None:
    """The control: the same process keeps no lockstep by itself."""
    words = [sys.executable, "-c", PROCESS, "0.05"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    assert json.loads(done.stdout) != ["turn", "works", "has worked"] * 5


def test_the_main_loop_does_not_even_look_before_it_is_its_turn(tmp_path: Path) -> None:
    assert LOOKING.count("ppoll") == 1
    did, counted = run(provide_lockstep(Cache()), tmp_path, 0.05, process=LOOKING)
    assert did == ["look", "turn", "works", "has worked"] * 5
    assert (counted.turns, counted.out_of_step) == (5, 0)


def test_the_monitors_thread_wakes_for_its_socket_and_else_not_at_once(tmp_path: Path) -> None:
    assert MONITOR.count("ppoll") == 1
    (idle, *addressed), _ = run(provide_lockstep(Cache()), tmp_path, 0, process=MONITOR)
    assert idle >= 0.019
    assert min(addressed) < 0.019


def test_a_virtual_cpu_that_never_sleeps_holds_up_nobody_for_good_and_is_counted(
    tmp_path: Path,
) -> None:
    source = tmp_path / "impatient.c"
    text = SOURCE.read_text()
    assert text.count("#define PATIENCE 3600") == 1
    source.write_text(text.replace("#define PATIENCE 3600", "#define PATIENCE 1"))
    (tmp_path / "a cache: odd").mkdir()
    library = tmp_path / "a cache: odd" / "impatient.so"
    compile_library(debian_compiler(Cache()), source, library)
    for number, process in enumerate([PROCESS, LOOKING]):
        (tmp_path / f"{number}").mkdir()
        did, counted = run(library, tmp_path / f"{number}", 3.5, process=process)
        did = [word for word in did if word != "look"]
        assert did[:3] == ["turn", "works", "turn"]
        assert counted.out_of_step >= 1


def test_threads_that_hand_over_do_not_take_the_cpu_from_each_other(tmp_path: Path) -> None:
    lockstep = Lockstep(provide_lockstep(Cache()), tmp_path)
    asks = "import os; print(os.sched_getscheduler(0) == os.SCHED_BATCH)"
    words = lockstep.command(Qemu("none", (sys.executable, "-c", asks)))

    def told(*before: str) -> Any:
        return subprocess.check_output([*before, *words], text=True)

    assert told() == "True\n"
    assert told("chrt", "--idle", "0") == "False\n", "somebody who wants less keeps it"


def test_what_such_a_process_starts_is_left_alone(tmp_path: Path) -> None:
    lockstep = Lockstep(provide_lockstep(Cache()), tmp_path)
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {PROCESS!r}, '0'])"
    words = lockstep.command(Qemu("none", (sys.executable, "-c", starts)))
    subprocess.run(words, capture_output=True, timeout=300, check=True)
    assert not lockstep.counted().known


def test_it_asks_for_no_executable_stack() -> None:
    body = provide_lockstep(Cache()).read_bytes()
    assert without_executable_stack(body) is body


MACHINE = [
    *("-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-m", "64"),
    *("-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"),
]


def test_a_qemu_keeps_them_from_its_start(tmp_path: Path) -> None:
    debian = debian_qemu(Cache(), say=print)
    lockstep = Lockstep(provide_lockstep(Cache()), tmp_path)
    emulator = Emulator(
        Qemu(debian.version, debian.command, debian.loader),
        MACHINE, log=tmp_path / "log", cpu=None, lockstep=lockstep,
    )  # fmt: skip
    try:
        emulator.go()
        assert lockstep.counted().known
        before = lockstep.counted().turns
        # The firmware looks for something to boot, finds nothing, and halts now and then.
        emulator.qmp.ask("query-status")
        assert lockstep.counted().turns > before
        assert lockstep.counted().out_of_step == 0
    finally:
        emulator.close()


def test_a_qemu_that_cannot_keep_them_is_refused_and_gone(tmp_path: Path) -> None:
    debian = debian_qemu(Cache(), say=print)
    deaf = Qemu("of one's own", ("env", "-u", "LD_PRELOAD", *debian.command))
    lockstep = Lockstep(provide_lockstep(Cache()), tmp_path)
    with pytest.raises(MicrovmError, match=r"does not keep in lockstep.*of one's own") as caught:
        Emulator(deaf, MACHINE, log=tmp_path / "log", cpu=None, lockstep=lockstep)
    assert "linked dynamically" in not_none(caught.value.hint)
