"""Where a trial's guest stops: at what its journal has, and where its scenario says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.pytest_plugin import checkpoints, fixtures
from harness.trial import Journal, TrialClock, read_lines


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "journal.jsonl", TrialClock())) as journal:
        yield journal


@pytest.fixture
def mark(journal: Journal) -> Callable[[str], None]:
    """What a scenario is given."""
    made: Callable[[str], None] = fixtures.checkpoint._get_wrapped_function()(
        SimpleNamespace(journal=journal)
    )
    return made


def test_a_guest_stops_where_the_scenario_says_so(
    journal: Journal,
    mark: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stops: list[str] = []
    monkeypatch.setattr(checkpoints, "checkpoint", stops.append)
    journal.listen(checkpoints.pass_checkpoints(lambda: pytest.fail("nobody is there")))
    journal.write("note", text="nothing to come back to")
    mark("half of the nodes upgraded")
    journal.write("load.stop", load=1)
    assert [stop.partition(" ")[2] for stop in stops] == ["checkpoint", "load.stop"]
    _, entry, _ = read_lines(tmp_path / "journal.jsonl")
    assert entry["name"] == "half of the nodes upgraded"
    assert f"{entry['t']:g} checkpoint" == stops[0]


def test_a_guest_that_was_thawed_for_a_person_is_handed_over(
    journal: Journal, mark: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "checkpoint", lambda _: {"control": b"{}"})
    handed: list[bool] = []
    journal.listen(checkpoints.pass_checkpoints(lambda: handed.append(True)))
    mark("here")
    assert handed == [True]
