"""The track record: what is expected of an engine by the marks, and what runs have shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from stored_runs import SCENARIO, store_run

from harness.docgen.scenario import Case
from harness.docgen.track_record import Cell, Seen, read_seen, track_record_page, with_runs
from harness.errors import UsageError
from harness.pytest_plugin.known_bugs import KnownBug

BUG = KnownBug(("moby/moby#1",), SpecifierSet("<28.0"), ())
OLD = Case("s/test_x.py::test_old", "old", "old", ("moby/moby#1",), (BUG,), thorough=False)
SOUND = Case("s/test_x.py::test_ok[a]", "ok[a]", "ok and a", ("moby/moby#2",), (), thorough=True)


def seen(scenario: str, engine: str, passed: int = 0, failed: int = 0, otherwise: int = 0) -> Seen:
    day = "20261129T101112Z"
    return Seen(scenario, engine, "namespaces", day, passed, failed, otherwise, unknown=0)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell(False, 3, 0, 0, 0), "✓ passes: 3 of 3"),
        (Cell(False, 2, 1, 0, 0), "✗ passes: 2 of 3"),
        (Cell(True, 0, 2, 0, 1), "✓ fails: 2 of 2"),
        (Cell(True, 1, 2, 0, 0), "✗ fails: 2 of 3"),
        (Cell(True, 0, 2, 1, 0), "✗ fails: 2 of 3"),
        (Cell(True, 0, 0, 0, 0), "fails; not run"),
        (Cell(False, 0, 0, 0, 2), "passes; unknown"),
    ],
)
def test_a_cell_says_what_is_expected_and_how_often_it_was_seen(cell: Cell, text: str) -> None:
    assert str(cell) == text


def test_agreement_is_counted_by_scenario_and_engine() -> None:
    page = track_record_page(
        [OLD, SOUND],
        [
            seen(OLD.id, "26.1.5", failed=2),
            seen(OLD.id, "28.5.2", passed=1),
            seen(SOUND.id, "26.1.5", passed=1, failed=1),
        ],
    )
    assert "**2 of 3** pairs" in page
    assert "in 5 trials" in page
    [row] = [line for line in page.splitlines() if "| old |" in line]
    assert "[moby/moby#1](https://github.com/moby/moby/issues/1)" in row
    assert "✓ fails: 2 of 2 | ✓ passes: 1 of 1 | 2026-11-29 | `run -k 'old'`" in row
    assert "`run -k 'ok and a' --thorough`" in page


def test_what_no_thread_is_about_is_left_out() -> None:
    page = track_record_page([Case("s::test_y", "y", "y", (), (), thorough=False)], [])
    assert "| y |" not in page


def test_runs_are_added_and_replace_themselves(tmp_path: Path) -> None:
    path = tmp_path / "seen.csv"
    path.write_text(with_runs([seen(OLD.id, "26.1.5", failed=1)], []))
    added = store_run(tmp_path / "reports", [1.0, 2.0])
    for _ in range(2):
        path.write_text(with_runs(read_seen(path), [added]))
    [new] = [row for row in read_seen(path) if row.scenario == SCENARIO]
    assert (new.engine, new.lab, new.run) == ("28.5.2", "namespaces", added.record.id)
    assert new.passed + new.unknown == 2
    assert seen(OLD.id, "26.1.5", failed=1) in read_seen(path)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "seen.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="is no track record"):
        read_seen(path)
    assert read_seen(tmp_path / "none.csv") == []
