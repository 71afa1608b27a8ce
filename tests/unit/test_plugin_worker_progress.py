"""Progress of workers on the one terminal there is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.pytest_plugin.worker_progress import ProgressReceiver, sender

TRIALS = """
@pytest.mark.parametrize("x", [1, 2])
def test_x(x, lab, measure, trial):
    trial.journal.write("note", text=f"said by {x}")
    measure(KEPT, 1)
"""


def test_what_was_sent_is_shown_before_the_end() -> None:
    shown: list[str] = []
    receiver = ProgressReceiver(shown.append)
    for worker in ("gw0", "gw1"):
        say = sender(receiver.address, worker)
        say("freezing a swarm\nof three")
        say("x" * 10_000)
    receiver.close()
    assert shown[:2] == ["[gw0] freezing a swarm", "[gw0] of three"]
    assert [line[:7] for line in shown[2:]] == ["[gw0] x", "[gw1] f", "[gw1] o", "[gw1] x"]
    assert max(map(len, shown)) == 4096


def test_the_path_of_temporary_files_may_be_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    shown: list[str] = []
    receiver = ProgressReceiver(shown.append)
    assert receiver.address.startswith(str(long))
    sender(receiver.address, "gw0")("a line")
    receiver.close()
    assert shown == ["[gw0] a line"]


def test_a_worker_outlives_its_terminal() -> None:
    receiver = ProgressReceiver(print)
    say = sender(receiver.address, "gw0")
    receiver.close()
    say("nobody hears it")
    sender(receiver.address, "gw1")("nor this")


def test_trials_in_workers_say_how_far_they_are(scenario: Callable[..., Any]) -> None:
    ran = scenario(TRIALS, "-n", "2")
    assert ran.code == 0, ran.out + ran.err
    for number in (1, 2):
        [line] = [line for line in ran.out.splitlines() if f"note: said by {number}" in line]
        # Pytest's own thread may put a trial's letter in between.
        assert line.lstrip(" .").startswith("[gw")
