"""TERM, HUP and a closed terminal end a run as Ctrl-C does: healed, written, with an exit code."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import call
from harness.errors import ENDING_SIGNALS, EndedBySignal, signals_raised
from harness.wait import NotYet, wait_for

ENDED = """
import os, signal, time

def test_before(lab, measure):
    measure(Expectation('downtime', unit='s', at_most=2), 1)

def test_x(lab, faults):
    faults.kill_node(lab.node('m1')).inject()
    {end}
    time.sleep(60)

def test_after(lab):
    assert False, "it was not to be run"
"""


def as_it_must_be(ran: Any, reason: str) -> None:
    records = {record["inputs"]["scenario"].split("::")[1]: record for record in ran.records()}
    assert records["test_before"]["verdict"] == "pass"
    assert (records["test_x"]["verdict"], records["test_x"]["reason"]) == ("unknown", reason)
    assert "test_after" not in records
    [journal] = ran.run.glob("trials/x.*/journal.jsonl")
    assert "fault.healed" in journal.read_text()
    assert (ran.run / "index.html").stat().st_size > 1000
    assert "test_before" in (ran.run / "junit.xml").read_text()


@pytest.fixture(autouse=True)
def hung_up() -> Iterator[None]:
    """HUP as it is without ``nohup``, which has it ignored here and in all that is started."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def unhandled() -> Iterator[None]:
    """No handlers, not even those of the session that runs these tests."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ENDING_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_run_as_ctrl_c_does(
    scenario: Callable[..., Any], number: signal.Signals, code: int
) -> None:
    twice = f"os.kill(os.getpid(), {int(number)}); " * 2
    ran = scenario(ENDED.format(end=twice))
    assert ran.code == code, ran.out
    as_it_must_be(ran, "interrupted")


def test_a_closed_terminal_ends_a_run_as_ctrl_c_does(scenario: Callable[..., Any]) -> None:
    ran = scenario("def test_x(lab):\n    pass\n")  # sets the folder up
    folder: Path = ran.folder
    told = folder / "told"
    text = (folder / "test_it.py").read_text().partition("\ndef test_x")[0]
    (folder / "test_it.py").write_text(text + ENDED.format(end=f"open({str(told)!r}, 'w').close()"))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", sys.executable, "-m", "pytest", "--lab=namespaces", "-v"],
        cwd=folder,
        env={**os.environ, "SWARM_CHAOS_CACHE": str(folder / "cache")},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        wait_for(lambda: told.exists() or NotYet("not there"), state="the body to run", within=120)
    finally:
        os.close(ours)
    assert process.wait(60) == 129
    as_it_must_be(ran, "interrupted")


@pytest.mark.usefixtures("unhandled")
def test_a_command_says_which_signal_ended_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ended(**_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("harness.cli.main.cli.main", ended)
    with signals_raised():
        assert call([]) == 143
    assert "ended by SIGTERM" in capsys.readouterr().err
    assert [signal.getsignal(number) for number in ENDING_SIGNALS] == [signal.SIG_DFL] * 2


@pytest.mark.usefixtures("unhandled")
def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with signals_raised():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.usefixtures("unhandled")
def test_only_the_first_signal_interrupts() -> None:
    done = []
    with signals_raised():
        with pytest.raises(EndedBySignal):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("healed")
    assert done == ["healed"]
