"""A process that waits with its imports done: it is there or says that it is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from optionals import not_none

from harness.errors import LabError
from harness.lab import warm_process


@pytest.fixture(autouse=True)
def none_waits() -> Iterator[None]:
    yield
    while (left := warm_process.take_warm()) is not None:
        left.dismiss()


def test_each_is_given_out_once() -> None:
    assert warm_process.take_warm() is None
    warm_process.keep_warm(["json"], {})
    waiting = warm_process.take_warm()
    assert waiting is not None
    assert warm_process.take_warm() is None
    waiting.dismiss()


def test_what_cannot_be_imported_is_told() -> None:
    with pytest.raises(LabError, match="was to import json, no_such_module"):
        warm_process.keep_warm(["json", "no_such_module"], {})
    assert warm_process.take_warm() is None


def test_one_that_is_dead_is_no_program(tmp_path: Path) -> None:
    warm_process.keep_warm(["json"], {})
    waiting = warm_process.take_warm()
    not_none(waiting).dismiss()
    started = not_none(waiting).become(
        "json.tool", pid=1, groups=[], environment={}, log=tmp_path / "log"
    )
    assert started is None
    not_none(waiting).dismiss()
