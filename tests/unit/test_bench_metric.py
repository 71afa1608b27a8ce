"""What benches yield, and the one form in which it is printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import many_trials

from harness.bench import Metric, median_of
from harness.bench.lab import bytes_in
from harness.bench.report import metrics
from harness.bench.trial import Mark, phases
from harness.cli.bench import _print
from harness.errors import UsageError


@pytest.mark.parametrize(
    ("values", "median"),
    [([3.0], 3.0), ([9.0, 1.0, 2.0], 2.0), ([1.0, 2.0], 1.5), ([1.23456789], 1.235)],
)
def test_a_metric_is_the_median(values: Sequence[float], median: float) -> None:
    assert median_of("x", values, "s") == Metric("x", median, "s")


@given(st.lists(st.floats(1e-6, 1e6), min_size=1))
def test_a_median_lies_among_what_was_measured(values: Sequence[float]) -> None:
    value = median_of("x", values, "s").value
    assert min(values) * 0.999 <= value <= max(values) * 1.001


def test_nothing_measured_is_an_error() -> None:
    with pytest.raises(UsageError, match="nothing was measured"):
        median_of("x", [], "s")


def test_json_is_a_list_of_name_value_unit(capsys: pytest.CaptureFixture[str]) -> None:
    _print([Metric("a", 1.5, "s"), Metric("b", 2.0, "MiB")], as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"name": "a", "value": 1.5, "unit": "s"},
        {"name": "b", "value": 2.0, "unit": "MiB"},
    ]


def test_people_get_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    _print([Metric("a", 1.5, "s"), Metric("long.name", 2.0, "MiB")], as_json=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["metric", "value", "unit"], ["a", "1.5", "s"], ["long.name", "2", "MiB"]]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5598-7ffd [rollup]\nRss:    4000 kB\nPss:     100 kB\nPss_Anon:  60 kB\n", 102400),
        ("", 0),
        ("Pss_Anon:  60 kB\n", 0),
    ],
)
def test_pss_is_read_from_the_rollup(text: str, size: int) -> None:
    assert bytes_in(text, "Pss") == size


def test_each_field_of_the_rollup_is_itself() -> None:
    assert bytes_in("Pss:  9 kB\nAnonymous:  7 kB\nAnonHugePages:  5 kB\n", "Anonymous") == 7168


def test_the_pages_of_a_run_are_measured(tmp_path: Path) -> None:
    found = {metric.name: metric for metric in metrics(many_trials(tmp_path, 2), times=1)}
    assert [name.rpartition(".")[2] for name in found] == ["wall", "cpu", "memory", "size", "index"]
    assert all(name.startswith("report.2.") and one.value > 0 for name, one in found.items())


def test_a_trial_is_split_at_its_checkpoints() -> None:
    marks = [
        Mark("thaw", 0.0, 0.0),
        Mark("load.start", 1.5, 4.0),
        Mark("fault.inject", 2.0, 5.25),
        Mark("end", 62.0, 30.0),
    ]
    found = {metric.name: metric.value for metric in phases(marks)}
    assert found == {
        "trial.1.load.start.virtual": 1.5,
        "trial.1.load.start.cpu": 4.0,
        "trial.2.fault.inject.virtual": 0.5,
        "trial.2.fault.inject.cpu": 1.25,
        "trial.3.end.virtual": 60.0,
        "trial.3.end.cpu": 24.75,
    }
