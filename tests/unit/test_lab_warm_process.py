"""A process that waits with its imports done: it is there or says that it is not."""

import pytest

from harness.errors import LabError
from harness.lab import warm_process


@pytest.fixture(autouse=True)
def none_waits():
    yield
    while (left := warm_process.take_warm()) is not None:
        left.dismiss()


def test_each_is_given_out_once():
    assert warm_process.take_warm() is None
    warm_process.keep_warm(["json"], {})
    waiting = warm_process.take_warm()
    assert waiting is not None
    assert warm_process.take_warm() is None
    waiting.dismiss()


def test_what_cannot_be_imported_is_told():
    with pytest.raises(LabError, match="was to import json, no_such_module"):
        warm_process.keep_warm(["json", "no_such_module"], {})
    assert warm_process.take_warm() is None


def test_one_that_is_dead_is_no_program(tmp_path):
    warm_process.keep_warm(["json"], {})
    waiting = warm_process.take_warm()
    waiting.dismiss()
    started = waiting.become("json.tool", pid=1, groups=[], environment={}, log=tmp_path / "log")
    assert started is None
    waiting.dismiss()
