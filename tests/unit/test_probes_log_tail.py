"""A log that grows is read once, and gives what reading it whole would have given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.probes.sampling.log_tail import LogTail

LEADER = re.compile(r"^leader (?P<who>\w+)$", re.MULTILINE)

texts = st.lists(st.sampled_from(["leader m1\n", "leader m2\n", "noise\n", "\n", "lead"])).map(
    "".join
)


def who(matches: Any) -> list[str]:
    return [match["who"] for match in matches]


@given(pieces=st.lists(texts))
def test_however_it_grows_each_line_is_found_once(
    pieces: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / "dockerd.log"
    log = LogTail(path, LEADER)
    assert log.matches() == [], "it is not there yet"
    for piece in pieces:
        with path.open("a") as file:
            file.write(piece)
        log.matches()
    text = "".join(pieces)
    assert who(log.matches()) == who(LEADER.finditer(text[: text.rfind("\n") + 1]))


def test_half_a_line_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "dockerd.log"
    path.write_text("leader m")
    log = LogTail(path, LEADER)
    assert log.matches() == []
    path.write_text("leader m3\n")
    assert who(log.matches()) == ["m3"]


def test_bytes_that_are_no_text_hide_nothing(tmp_path: Path) -> None:
    path = tmp_path / "dockerd.log"
    path.write_bytes(b"\xff\xfe\nleader m1\n\xc3")
    assert who(LogTail(path, LEADER).matches()) == ["m1"]
