"""The overview's matrix: what stands in a cell, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from optionals import not_none
from stored_runs import given, store_trial

from harness.report.overview import Cell, matrix_of
from harness.results import RunWriter, StoredTrial, read_run


def trials_of(tmp_path: Path, told: Sequence[tuple[str, int, float]]) -> tuple[StoredTrial, ...]:
    """Trials as they ended: (engine, seed, value), held against 10 s."""
    writer = RunWriter.create(tmp_path, command=[], harness="1")
    for version, seed, value in told:
        store_trial(writer, given(version, seed=seed), {"time": value}, limit=10.0)
    return read_run(writer.folder).trials


def seeds(cell: Cell) -> list[int]:
    return [trial.record.inputs.seed for trial in cell.shown]


def test_trials_stand_by_their_seed_however_they_ended(tmp_path: Path) -> None:
    told = [("28.5.2", seed, 1.0) for seed in (4, 1, 5, 2, 3)] + [("20.10.5", 1, 1.0)]
    matrix = matrix_of(trials_of(tmp_path, told))
    assert matrix.engines == ("20.10.5", "28.5.2")
    [row] = matrix.rows
    assert [seeds(not_none(cell)) for cell in row.cells] == [[1], [1, 2, 3, 4, 5]]


def test_of_many_trials_the_worst_are_shown(tmp_path: Path) -> None:
    told = [("28.5.2", seed, 99.0 if seed in (40, 77) else 1.0) for seed in range(100)]
    [row] = matrix_of(trials_of(tmp_path, told)).rows
    [cell] = row.cells
    assert seeds(not_none(cell))[:3] == [40, 77, 0]
    assert len(not_none(cell).shown) < len(not_none(cell).trials)
