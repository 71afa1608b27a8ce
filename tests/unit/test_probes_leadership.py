"""Raft's lines in dockerd's log, as 20.10 and 28 write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stand_ins import stand_in

from harness.probes.leadership import LINE, View, views_of
from harness.probes.sampling.timestamps import epoch_seconds

AT_41_57 = datetime(2026, 11, 23, 1, 41, 57, tzinfo=UTC).timestamp()

M1, M2 = "1f34936010fd8aef", "531fec5faed379cf"


def line(stamp: str, said: str) -> str:
    """As dockerd writes it, 20.10 like 28."""
    return f'time="{stamp}" level=info msg="{said}" module=raft node.id=k05ss32oz6n04e8zb7obzgdet\n'


OLD_M1 = (
    line("2026-11-23T01:41:57.000004000Z", f"{M1} became leader at term 2")
    + line("2026-11-23T01:41:57.014075398Z", f"raft.node: {M1} elected leader {M1} at term 2")
    + line("2026-11-23T01:41:58.5Z", f"raft.node: {M1} lost leader {M1} at term 3")
)
NEW_M2 = line(
    "2026-11-23T01:41:57.250000000Z", f"raft.node: {M2} elected leader {M1} at term 2"
) + line(
    "2026-11-23T01:41:59.750000000Z", f"raft.node: {M2} changed leader from {M1} to {M2} at term 4"
)


def views(*logs: tuple[str, str], shift: float = 0.0) -> list[View]:
    matches = [(node, list(LINE.finditer(text))) for node, text in logs]
    return views_of(matches, to_trial_time=shift - AT_41_57)


def test_views_of_several_managers_in_order_of_time() -> None:
    assert views(("m2", NEW_M2), ("m1", OLD_M1)) == [
        View(stand_in(pytest.approx(0.014075, abs=1e-6)), "m1", "m1", 2),
        View(0.25, "m2", "m1", 2),
        View(1.5, "m1", None, 3),
        View(2.75, "m2", "m2", 4),
    ]


def test_a_leader_whose_log_is_not_there_keeps_its_raft_id() -> None:
    assert [view.leader for view in views(("m2", NEW_M2))] == [M1, "m2"]


def test_other_lines_and_torn_ones_are_no_views() -> None:
    assert views(("m1", OLD_M1.splitlines()[0])) == []
    assert views(("m1", OLD_M1.splitlines()[1][:-60])) == []
    assert views(("m1", "")) == []


@given(st.text())
def test_any_text_is_read_without_trouble(text: str) -> None:
    views(("m1", text))


@given(
    st.datetimes(datetime(2017, 1, 1), datetime(2037, 12, 31)),
    st.integers(0, 999_999_999),
    st.integers(0, 9),
    st.sampled_from([None, "+00:00", "+02:00", "-09:30"]),
)
def test_stamps_to_the_nanosecond_in_any_zone(
    moment: datetime, nanoseconds: int, digits: int, zone: str | None
) -> None:
    moment = moment.replace(microsecond=0)
    fraction = f"{nanoseconds:09d}"[:digits]
    stamp = moment.isoformat() + (f".{fraction}" if fraction else "") + (zone or "Z")
    shift = timedelta()
    if zone:
        sign = 1 if zone[0] == "+" else -1
        shift = sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    expected = (moment.replace(tzinfo=UTC) - shift).timestamp() + float(f"0.{fraction or 0}")
    assert epoch_seconds(stamp) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("stamp", ["", "yesterday", "2026-11-23", "2026-11-23T01:41:57"])
def test_what_is_no_stamp_is_no_time(stamp: str) -> None:
    assert epoch_seconds(stamp) == 0.0
