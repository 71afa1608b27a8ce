"""The byte code that a trial brings, made by the guest's own Python on this host."""

from __future__ import annotations

import re

import pytest

from harness.images import Cache
from harness.snapshots.payload import with_byte_code

pytestmark = pytest.mark.integration

FILES = {
    "harness/a.py": b"A = 1\n",
    "scenarios/test_b.py": b"def test_b():\n    assert {1, 2, 3}\n",
    "scenarios/helper.py": b"B = 2\n",
    "conftest.py": b"",
    "scenarios/broken.py": b"def (\n",
    "pyproject.toml": b"",
}


def test_sources_come_with_byte_code_of_the_guests_python() -> None:
    made = with_byte_code(FILES, Cache())
    assert {name: made[name] for name in FILES} == FILES
    added = {re.sub(r"cpython-3\d+", "X", name) for name in made.keys() - FILES.keys()}
    assert added == {"harness/__pycache__/a.X.pyc", "scenarios/__pycache__/helper.X.pyc"}
    [code] = [data for name, data in made.items() if "/a." in name and name.endswith("pyc")]
    # PEP 552: bit 0, made from a hash; bit 1 clear: not to be checked
    assert int.from_bytes(code[4:8], "little") == 0b01
    # What shows a traceback its source: the name that the guest's import system knows it by.
    assert b"/payload/harness.zip/harness/a.py" in code


def test_the_same_sources_give_the_same_bytes() -> None:
    assert with_byte_code(FILES, Cache()) == with_byte_code(dict(reversed(FILES.items())), Cache())
