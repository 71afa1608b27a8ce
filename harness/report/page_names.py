"""File names of a site's pages: short, portable and unique."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from harness.results.scenario_names import short_name

_MOST = 120
Key = TypeVar("Key")

INDEX = "index.html"
PAGES = "pages"
COMPARISON = "comparison.html"
HISTORY = "history.html"


def slug(text: str) -> str:
    """Text as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")[:_MOST] or "x"


def page_names(kind: str, wanted: Iterable[tuple[Key, str]]) -> dict[Key, str]:
    """Return a file name for each key, made from the stem given for it."""
    names: dict[Key, str] = {}
    taken: set[str] = set()
    for key, stem in wanted:
        base = f"{kind}-{slug(stem)}"
        name, number = base, 1
        # Some file systems do not tell capitals from small letters.
        while name.lower() in taken:
            number += 1
            name = f"{base}--{number}"
        taken.add(name.lower())
        names[key] = f"{name}.html"
    return names


def scenario_stem(scenario: str, *, control: bool) -> str:
    """Return the stem of a scenario's page name."""
    return short_name(scenario).removeprefix("test_") + (".control" if control else "")


def trial_stem(parts: Sequence[str]) -> str:
    """Return the stem of a trial's page name: its run, if there are several, and its id."""
    return ".".join(part for part in parts if part)
