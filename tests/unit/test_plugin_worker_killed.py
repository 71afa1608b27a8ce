"""A worker of pytest-xdist that is killed: its trial is unknown, and what others did counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.errors import EXIT_EXPECTATION, EXIT_INTERRUPTED, EXIT_TROUBLE
from harness.results import read_run

TRIALS = """
import os, signal

@pytest.mark.parametrize("x", [1, 2, 3])
def test_x(x, lab, measure):
    measure(KEPT, 1)
    if x == 2:
        os.kill(os.getpid(), signal.{signal})
        signal.pause()
"""


@pytest.mark.parametrize(
    ("signal", "code", "why"),
    [
        ("SIGKILL", EXIT_TROUBLE, "the trial did not finish; the last entry in its journal is"),
        # A signal that asks a worker to end is taken for one to the session, as Ctrl-C is.
        ("SIGTERM", EXIT_INTERRUPTED, "interrupted"),
    ],
)
def test_a_trial_of_a_killed_worker_is_unknown(
    scenario: Callable[..., Any], signal: str, code: int, why: str
) -> None:
    ran = scenario(TRIALS.format(signal=signal), "-n", "1")
    assert ran.code == code, ran.out + ran.err
    assert "crashed while running 'test_it.py::test_x[stable-s1-2]'" in ran.out
    assert "UNKNOWN test_it.py::test_x[stable-s1-2]" in ran.out
    assert ran.counted()["unknown"] == 1
    assert "failed" not in ran.counted()
    assert why in ran.out
    run = read_run(ran.run)
    passed = [trial.id for trial in run.trials if trial.record.verdict == "pass"]
    assert passed
    assert not [name for name in passed if name.startswith("x-2")]


def test_the_trial_of_a_killed_worker_is_in_the_run_even_if_there_is_no_other(
    scenario: Callable[..., Any],
) -> None:
    # As the host of a guest has it: the folder would be the trial's with the next rename.
    ran = scenario(
        """
import os, signal

def test_x(trial):
    incoming = trial.folder.with_name(f".{trial.folder.name}.incoming")
    incoming.mkdir()
    (incoming / "console.log").write_text("booted")
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
""",
        *("-n", "1"),
    )
    assert ran.code == EXIT_TROUBLE, ran.out + ran.err
    [begun] = read_run(ran.run).record.trials
    assert begun.startswith("x.")
    assert [path.name for path in (ran.run / "trials").iterdir()] == [begun]
    assert (ran.run / "trials" / begun / "journal.jsonl").stat().st_size


def test_a_test_that_is_no_scenario_has_failed_with_its_worker(
    scenario: Callable[..., Any],
) -> None:
    ran = scenario("import os\n\ndef test_plain():\n    os._exit(9)\n", "-n", "1")
    assert (ran.code, ran.counted()) == (EXIT_EXPECTATION, {"failed": 1}), ran.out + ran.err
