"""A measure night after night."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stored_runs import given, store_run, store_trial

from harness.results import Run, RunWriter, read_run
from harness.results.history import history_of
from harness.results.thresholds import Threshold, Thresholds
from harness.trial import EngineFacts

CHANCE = random.Random(7)
NIGHTS = [[10 + (day >= 12) * 6 + CHANCE.random() for _ in range(3)] for day in range(24)]


def nights(tmp_path: Path, rows: Sequence[list[float]] = NIGHTS, **settings: Any) -> list[Run]:
    return [
        store_run(tmp_path, values, day=day, version="26.1.5" if day < 13 else "28.5.2", **settings)
        for day, values in enumerate(rows, start=1)
    ]


def series_of(runs: Any, **options: Any) -> Any:
    return {(s.engine, s.measure): s for s in history_of(runs, **options)}


def test_a_change_is_told_with_its_run_and_the_engines_on_either_side(tmp_path: Path) -> None:
    # An alias moves on from one night to the next: the name asked for is what the series is of.
    runs = []
    for day, values in enumerate(NIGHTS, start=1):
        writer = RunWriter.create(
            tmp_path, command=[], harness="1", started=datetime(2026, 11, day, tzinfo=UTC)
        )
        version = "26.1.5" if day < 13 else "28.5.2"
        engine = EngineFacts(name="stable", version=version, source="", digest="0")
        for seed, value in enumerate(values):
            store_trial(writer, given(seed=seed, engine=engine), {"time to a new leader": value})
        runs.append(read_run(writer.folder))
    [series] = history_of(runs)
    [turn] = series.changes
    assert series.engine == "stable"
    assert len(series.points) == 24
    assert turn.run == runs[12].record.id
    assert (turn.engine_before, turn.engine, turn.outcome) == ("26.1.5", "28.5.2", "regressed")
    assert 5 < turn.after - turn.before < 7


def test_the_order_in_which_runs_are_named_does_not_matter(tmp_path: Path) -> None:
    runs = [store_run(tmp_path, values, day=day) for day, values in enumerate(NIGHTS, start=1)]
    assert history_of(runs) == history_of(runs[::-1])
    [series] = history_of(runs)
    assert [turn.run for turn in series.changes] == [runs[12].record.id]


def test_a_rise_of_what_is_better_higher_improved(tmp_path: Path) -> None:
    runs = nights(tmp_path, better="higher")
    assert all(len(s.changes) == 0 for s in history_of(runs))  # each engine's own nights are level
    same = [store_run(tmp_path / "x", v, day=d, better="higher") for d, v in enumerate(NIGHTS, 1)]
    assert [t.outcome for s in history_of(same) for t in s.changes] == ["improved"]


def test_below_the_floor_and_ignored_and_short_ones(tmp_path: Path) -> None:
    runs = [store_run(tmp_path, values, day=day) for day, values in enumerate(NIGHTS, start=1)]
    [level] = history_of(runs, Thresholds(unit={"s": Threshold(absolute=8.0)}))
    assert level.changes == ()
    assert level.enough_runs
    assert history_of(runs, Thresholds(measure={"*": Threshold(ignore=True)})) == ()
    [short] = history_of(runs[:6])
    assert not short.enough_runs


def test_virtual_and_real_nights_are_series_of_their_own(tmp_path: Path) -> None:
    runs = [
        store_run(tmp_path, v, day=d, inputs={"clock": "virtual" if d % 2 else "real"})
        for d, v in enumerate(NIGHTS, start=1)
    ]
    assert sorted((s.clock, len(s.points)) for s in history_of(runs)) == [
        ("real", 12),
        ("virtual", 12),
    ]
