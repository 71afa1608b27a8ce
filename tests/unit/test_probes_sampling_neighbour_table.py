"""Full tables of neighbours: read as the kernel counts them, and a doubt of any trial meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bare_trials import bare_trial

from harness.probes.sampling.neighbour_table import NeighbourTable, times_full
from harness.trial import Trial, read_lines

#: Read on a kernel 6.1 with two CPUs after a lab of 53 nodes, without the columns in between.
ARP = """entries  allocs   table_fulls
00000006 0000c8e3 000182e3
00000006 0000c7a4 000143b7
"""
NDISC = """entries  allocs   table_fulls
00000000 00000000 00000000
00000000 00000000 00000001
"""


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    made = bare_trial(tmp_path / "trial")
    yield made
    made.journal.close()


def test_the_kernels_own_counters_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "arp_cache").write_text(ARP)
    with pytest.raises(OSError, match="ndisc_cache"):
        times_full(tmp_path)
    (tmp_path / "ndisc_cache").write_text(NDISC)
    assert times_full(tmp_path) == 0x182E3 + 0x143B7 + 1
    (tmp_path / "ndisc_cache").write_text("entries\n00000000\n")
    with pytest.raises(ValueError, match="table_fulls"):
        times_full(tmp_path)


@pytest.mark.parametrize(("after", "times"), [(182_000, 0), (182_007, 7)])
def test_a_table_that_was_full_meanwhile_is_a_doubt(trial: Trial, after: int, times: int) -> None:
    readings = iter([182_000, after])
    doubts = list(NeighbourTable(lambda: next(readings)).doubts(trial))
    assert len(doubts) == bool(times)
    assert all(f"full {times} times" in doubt and "gc_thresh3" in doubt for doubt in doubts)
    entries = list(read_lines(trial.folder / "journal.jsonl"))
    assert [e["times"] for e in entries if e["kind"] == "neighbours.full"] == (
        [times] if times else []
    )


@pytest.mark.parametrize("error", [FileNotFoundError("arp_cache"), ValueError("table_fulls")])
def test_a_kernel_that_does_not_say_is_no_doubt_and_on_record(
    trial: Trial, error: Exception
) -> None:
    def unreadable() -> int:
        raise error

    assert list(NeighbourTable(unreadable).doubts(trial)) == []
    entries = read_lines(trial.folder / "journal.jsonl")
    assert [e["why"] for e in entries if e["kind"] == "neighbours.unwatched"] == [str(error)]
