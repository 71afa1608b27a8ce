"""The journal: in order, on disk at once, read back even when its writer died."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import TrialError
from harness.trial import Journal, TrialClock, read_lines


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.jsonl", TrialClock())
    yield journal
    journal.close()


def test_a_line_is_on_disk_before_the_call_returns(journal: Journal) -> None:
    at = journal.write("fault.inject", id="x-1", target="m1")
    [entry] = read_lines(journal.path)
    assert entry == {"t": at, "kind": "fault.inject", "id": "x-1", "target": "m1"}


def test_listeners_hear_what_is_written(journal: Journal) -> None:
    heard: list[Any] = []
    journal.write("before")
    journal.listen(heard.append)
    journal.write("note", text="x")
    assert [entry["kind"] for entry in heard] == ["note"]


def test_threads_write_whole_lines_in_order_of_time(journal: Journal) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(400):
            pool.submit(journal.write, "note", number=number, text="x" * 500)
    entries = list(read_lines(journal.path))
    assert {entry["number"] for entry in entries} == set(range(400))
    times = [entry["t"] for entry in entries]
    assert times == sorted(times)


@pytest.mark.parametrize("kind", ["", "Upper", "two words", "a..b", ".a", "a.", "1a"])
def test_kinds_are_lower_case_and_dotted(journal: Journal, kind: str) -> None:
    with pytest.raises(TrialError, match="not a valid kind of journal entry"):
        journal.write(kind)


def test_the_journals_own_words_cannot_be_given(journal: Journal) -> None:
    with pytest.raises(TrialError, match="reserved"):
        journal.write("note", t=3)


def test_what_json_cannot_say_is_an_error_in_words(journal: Journal) -> None:
    with pytest.raises(TrialError, match="cannot write to the journal"):
        journal.write("note", what=object())


def test_a_journal_where_none_can_be_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="cannot write the journal"):
        Journal(tmp_path / "no" / "journal.jsonl", TrialClock())
    with pytest.raises(TrialError, match="cannot read"):
        list(read_lines(tmp_path / "no"))


@given(st.data())
def test_a_torn_last_line_costs_itself_alone(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    entries = [{"t": number, "kind": "note", "text": "ä\n"} for number in range(3)]
    whole = b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    found = list(read_lines(path))
    assert found == entries[: len(found)]
    complete = whole[:cut].count(b"\n")
    assert len(found) - complete in (0, 1)  # 1: all but the newline was written


def test_a_broken_line_in_the_middle_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"t": 1}\n{"t": \n{"t": 3}\n')
    with pytest.raises(TrialError, match=r"journal.jsonl, line 2: not an entry"):
        list(read_lines(path))


def test_the_clock_counts_from_its_origin_in_microseconds() -> None:
    clock = TrialClock(origin=10.0, monotonic=lambda: 12.3456789)
    assert clock.now() == 2.345679
    assert clock.at(9.0) == -1.0
