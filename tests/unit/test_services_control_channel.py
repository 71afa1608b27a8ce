"""Orders to child processes: whole lines, however they come, each with one answer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.services.servers.control_channel import ControlChannel, answered


def doubled(order: Mapping[str, int]) -> dict[str, int]:
    return {"twice": 2 * order["number"]}


@given(st.lists(st.integers(), max_size=20), st.lists(st.integers(1, 40), max_size=20))
def test_orders_are_answered_in_turn_however_the_stream_is_cut(
    numbers: Sequence[int], sizes: Sequence[int]
) -> None:
    stream = b"".join(json.dumps({"number": n}).encode() + b"\n" for n in numbers)
    reader, writer = os.pipe()
    answers: list[Any] = []
    orders = ControlChannel(reader, doubled, answers.append)
    for size in [*sizes, len(stream) + 1]:
        piece, stream = stream[:size], stream[size:]
        if piece:
            os.write(writer, piece)
            assert orders.take()
    os.close(writer)
    assert not orders.take()
    os.close(reader)
    assert [json.loads(answer)["twice"] for answer in answers] == [2 * n for n in numbers]


def test_what_is_wrong_with_an_order_is_its_answer() -> None:
    for line in (b"no json", b"{}", b'{"number": null}'):
        assert set(json.loads(answered(line, doubled))) == {"error"}
