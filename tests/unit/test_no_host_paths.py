"""Nothing in the repository names a place on the machine it was written on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]

# Written so that this file does not find itself.
PLACES = re.compile(
    r"(?<![\w.$}/-])/(?:"
    + "|".join(["wo" + r"rk(?=/|\b)", "ho" + r"me/[a-z]", "Us" + "ers/[A-Za-z]", "ro" + r"ot/\."])
    + r")"
)
BINARY = {".png", ".ico", ".gz", ".zst", ".tar"}


def tracked() -> list[Path]:
    """The files git knows; all files, where the sources came without git."""
    listed = subprocess.run(
        ["git", "-C", str(REPOSITORY), "ls-files", "-z"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("these sources are no git checkout")
    names = [name for name in listed.stdout.split("\0") if name]
    return [REPOSITORY / name for name in names if Path(name).suffix not in BINARY]


def places_in(text: str) -> list[Any]:
    """Lines of ``text`` that name such a place."""
    return [line.strip() for line in text.splitlines() if PLACES.search(line)]


def test_no_file_names_a_place_of_the_machine_it_was_written_on() -> None:
    found = {
        str(path.relative_to(REPOSITORY)): lines
        for path in tracked()
        if path.is_file() and (lines := places_in(path.read_text(errors="replace")))
    }
    assert found == {}


@pytest.mark.parametrize(
    "text",
    ["see /wo" + "rk/main/x", "cd '/ho" + "me/me/src'", "=/wo" + "rk", "/ro" + "ot/.cache/x"],
)
def test_such_a_place_is_seen(text: str) -> None:
    assert places_in(text) == [text]


@pytest.mark.parametrize(
    "text", ["$upper/wo" + "rk", "https://x.org/wo" + "rk/y", "/var/lib/docker"]
)
def test_other_paths_are_left_alone(text: str) -> None:
    assert places_in(text) == []
