"""How many bounds no control breaks: they are counted, and may only become fewer."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from harness.pytest_plugin.expectations import stated_in
from harness.trial import Expectation

FOLDER = Path(__file__).parents[2] / "scenarios"

MOST_WITHOUT = 52
"""Bounds without a control, over all scenarios. It may only fall: give a new bound a control."""

#: Words that a reason has at least: "none" and "not yet" are none.
_FEWEST_WORDS = 6

#: Bounds that may share a reason. One that is given for everything was thought of for nothing.
_MOST_ALIKE = 3


def bounds() -> list[tuple[str, Expectation]]:
    """All expectations of the scenarios, each with the name of its file."""
    found = []
    for path in sorted(FOLDER.glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"controls_of_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # its dataclasses look there for their own names
        try:
            spec.loader.exec_module(module)
        finally:
            del sys.modules[spec.name]
        stated = (each for each in stated_in(module) if isinstance(each, Expectation))
        found += [(path.stem, each) for each in stated]
    return found


WITHOUT = [(file, each) for file, each in bounds() if not each.controls]


def empty(reasons: Iterable[str]) -> list[str]:
    """Those that say nothing."""
    return [reason for reason in reasons if len(reason.split()) < _FEWEST_WORDS]


def boilerplate(reasons: Iterable[str]) -> dict[str, int]:
    """Those that are given for more bounds than they may be."""
    return {reason: count for reason, count in Counter(reasons).items() if count > _MOST_ALIKE}


def test_bounds_without_a_control_become_no_more() -> None:
    listed = "\n".join(f"{file}: {each.name}: {each.no_control}" for file, each in WITHOUT)
    assert len(WITHOUT) <= MOST_WITHOUT, listed


def test_a_reason_for_no_control_says_something() -> None:
    assert empty(each.no_control for _, each in WITHOUT) == []


def test_a_reason_for_no_control_is_given_for_few() -> None:
    assert boilerplate(each.no_control for _, each in WITHOUT) == {}


@pytest.mark.parametrize("reason", ["", "none", "there is none yet"])
def test_a_reason_that_says_nothing_is_found(reason: str) -> None:
    assert empty([reason]) == [reason]


def test_a_reason_given_for_everything_is_found() -> None:
    assert boilerplate(["no fault does it"] * 4 + ["another"] * 3) == {"no fault does it": 4}
