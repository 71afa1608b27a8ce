"""Expectations are data: one limit, its reason and its control, in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bare_trials import bare_trial

from harness.errors import TrialError, UsageError
from harness.trial import Expectation, Observation, Trial, as_expected
from harness.wait import Elapsed

NEW_LEADER = Expectation(
    "time to a new leader", unit="s", at_most=45, source="swarmkit", control="test_control"
)
Opened = Callable[[str], Trial]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Open trials by name; their journals are closed afterwards."""
    trials: list[Trial] = []

    def open_one(name: str) -> Trial:
        trials.append(bare_trial(tmp_path / name))
        return trials[-1]

    yield open_one
    for trial in trials:
        trial.journal.close()


GAP = Expectation("longest gap at {entry}", unit="s", at_most=25, control="test_control")


@pytest.mark.parametrize(
    ("limits", "value", "holds"),
    [
        ({"at_most": 45}, 45, True),
        ({"at_most": 45}, 45.1, False),
        ({"at_least": 3}, 3, True),
        ({"at_least": 3}, 2.9, False),
        ({"exactly": 0}, 0, True),
        ({"exactly": 0}, 1, False),
    ],
)
def test_the_limit_itself_keeps_the_bound(
    opened: Opened, limits: dict[str, Any], value: float, holds: bool
) -> None:
    trial = opened("t")
    trial.measures(Expectation("m", unit="s", **limits), value)
    [measure] = trial.measures.all()
    assert measure.ok is holds


def test_a_wait_that_ran_out_at_the_limit_has_broken_it(opened: Opened) -> None:
    trial = opened("t")
    trial.measures(NEW_LEADER, Elapsed(45.0, reached=False, last="nobody leads"))
    [measure] = trial.measures.all()
    assert (measure.ok, measure.censored, measure.note) == (False, True, "nobody leads")


def test_a_family_has_a_measure_for_each_label(opened: Opened) -> None:
    trial = opened("t")
    trial.measures(GAP, 3.0, entry="m1")
    trial.measures(GAP, 30.0, entry="m2")
    assert [(m.name, m.expectation, m.ok) for m in trial.measures.all()] == [
        ("longest gap at m1", "longest gap at {entry}", True),
        ("longest gap at m2", "longest gap at {entry}", False),
    ]


@pytest.mark.parametrize("labels", [{}, {"node": "m1"}, {"entry": "m1", "more": "x"}])
def test_labels_that_do_not_fit_are_refused(opened: Opened, labels: dict[str, str]) -> None:
    trial = opened("t")
    with pytest.raises(TrialError, match="does not get the labels it names"):
        trial.measures(GAP, 1.0, **labels)


@pytest.mark.parametrize(
    "limits", [{}, {"at_most": 1, "at_least": 0}, {"at_most": float("nan")}, {"exactly": 1e400}]
)
def test_an_expectation_that_cannot_be_meant_is_refused_where_it_is_written(
    limits: dict[str, Any],
) -> None:
    with pytest.raises(UsageError):
        Expectation("m", unit="s", **limits)


def test_what_is_only_observed_has_no_bound(opened: Opened) -> None:
    trial = opened("t")
    trial.measures(Observation("tasks rescheduled", unit="tasks", better="none"), 3)
    [measure] = trial.measures.all()
    assert (measure.bound, measure.better, measure.expectation) == (None, "none", "")


def test_a_control_may_break_any_of_a_family(opened: Opened) -> None:
    trial = opened("t")
    trial.measures(GAP, 30.0, entry="m2")
    record = trial.finish(None, must_break=["longest gap at {entry}"])
    assert not as_expected(record), "not a control and no known bug"
    trial = opened("u")
    trial.measures(GAP, 30.0, entry="m2")
    record = trial.finish(None, must_break=[GAP.name], known_bugs=["moby/moby#1"])
    assert as_expected(record)


def test_several_are_recorded_at_once(opened: Opened) -> None:
    trial = opened("t")
    trial.measures.each({NEW_LEADER: 3.0, GAP: {"m1": 1.0, "m2": 26.0}})
    assert [(m.name, m.value, m.ok) for m in trial.measures.all()] == [
        ("time to a new leader", 3.0, True),
        ("longest gap at m1", 1.0, True),
        ("longest gap at m2", 26.0, False),
    ]


def test_only_a_family_of_one_field_is_recorded_by_label(opened: Opened) -> None:
    trial = opened("t")
    with pytest.raises(TrialError, match="exactly one field"):
        trial.measures.each({NEW_LEADER: {"m1": 1.0}})
