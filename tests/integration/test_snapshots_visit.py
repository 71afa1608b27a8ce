"""A visit to a frozen swarm, by a pipe and by a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from processes import running

from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration

SHELL = [sys.executable, "-m", "harness.cli.main", "shell"]
PROMPT_WITHIN = 600.0  # the first visit freezes the swarm


def piped(script: str, *args: str) -> subprocess.CompletedProcess[Any]:
    return subprocess.run(
        [*SHELL, *args], input=script, capture_output=True, text=True, timeout=900, check=False
    )


def test_commands_from_a_pipe_run_among_the_nodes() -> None:
    script = "m1 docker node ls --format '{{.Hostname}}'\nnode w1 hostname\necho no >&2\nexit 3\n"
    done = piped(script)
    assert sorted(done.stdout.split()[:5]) == ["m1", "m2", "m3", "w1", "w2"]
    assert done.stdout.endswith("\nw1\n")
    assert done.stderr.endswith("no\n")
    assert done.returncode == 3


def test_the_same_commands_and_seed_give_the_same_bytes() -> None:
    script = "m1 docker info --format '{{.ID}}'; date +%N; head -c 8 /dev/urandom | od -An -tx1"
    first, again, other = (piped(script, "--seed", seed).stdout for seed in ("7", "7", "8"))
    assert first == again != other


def test_a_script_on_a_node_sees_its_files() -> None:
    assert piped("cat /etc/hostname", "--node", "m2").stdout == "m2\n"


def test_a_generator_of_load_waits_in_a_frozen_swarm() -> None:
    done = piped("for pid in $(pgrep -f geventhttpclient); do readlink /proc/$pid/fd/0; done")
    [stdin] = done.stdout.splitlines()
    assert stdin.startswith("pipe:")


def test_faults_by_hand_in_a_guest() -> None:
    done = piped(
        "inject node-killed w2; w2 hostname; status; heal; w2 hostname; status --json",
        "--seed",
        "3",
    )
    assert "injected node-killed-1 on w2: w2 has no process left" in done.stdout
    assert "w2 is switched off" in done.stderr
    assert "injected: node-killed-1 on w2" in done.stdout
    said = done.stdout.partition("healed node-killed-1 on w2\nw2\n")[2]
    [lab] = json.loads(said)
    assert lab["injected"] == []
    assert lab["nodes"]["w2"]["answers"]


class Person:
    """At a terminal that runs the shell."""

    def __init__(self, *args: Any) -> None:
        self.master, self.terminal = pty.openpty()
        self.before = termios.tcgetattr(self.terminal)
        self.process = subprocess.Popen(
            [*SHELL, *args],
            stdin=self.terminal,
            stdout=self.terminal,
            stderr=self.terminal,
            start_new_session=True,
        )

    def types(self, text: bytes) -> None:
        os.write(self.master, text)

    def sees(self, what: bytes, within: float = 60.0) -> bytes:
        seen = b""
        deadline = time.monotonic() + within
        while what not in seen and time.monotonic() < deadline:
            if select.select([self.master], [], [], 1.0)[0]:
                seen += os.read(self.master, 65536)
        assert what in seen, seen.decode(errors="replace")
        return seen


@pytest.fixture
def person() -> Iterator[Person]:
    someone = Person()
    yield someone
    someone.process.kill()
    someone.process.wait()
    os.close(someone.master)
    os.close(someone.terminal)


def test_a_person_walks_about_and_leaves(person: Person) -> None:
    assert b"leads" in person.sees(b"guest:", PROMPT_WITHIN)
    person.types(b"m2\r")
    person.sees(b"m2:")
    person.types(b"echo on $(hostname)\r")
    person.sees(b"on m2\r")
    person.types(b"exit\r")
    person.sees(b"guest:")
    person.types(b"exit 5\r")
    assert person.process.wait(60) == 5
    assert termios.tcgetattr(person.terminal) == person.before


def test_the_escape_leaves_whatever_hangs(person: Person) -> None:
    person.sees(b"guest:", PROMPT_WITHIN)
    person.types(b"sleep 100000\r")
    person.types(b"\x1d")
    assert person.process.wait(60) == 0
    assert termios.tcgetattr(person.terminal) == person.before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_shell_that_is_killed_takes_its_guest_with_it(
    person: Person, number: signal.Signals, code: int
) -> None:
    person.sees(b"guest:", PROMPT_WITHIN)
    person.types(b"sleep 100000\r")
    guests = [child.pid for child in psutil.Process(person.process.pid).children(recursive=True)]
    assert guests
    person.process.send_signal(number)
    assert person.process.wait(60) == code
    wait_for(
        lambda: not [pid for pid in guests if running(pid)] or NotYet("QEMU runs on"),
        state="its guest to end",
        within=10,
    )
    if number is not signal.SIGKILL:  # after which nobody is left who could
        assert termios.tcgetattr(person.terminal) == person.before
