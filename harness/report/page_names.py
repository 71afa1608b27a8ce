"""File names of a site's pages: short, safe anywhere, and no two alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from harness.report.overview import name_of

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
    """A file name for each key, made from the words given for it."""
    names: dict[Key, str] = {}
    taken: set[str] = set()
    for key, words in wanted:
        base = f"{kind}-{slug(words)}"
        name, number = base, 1
        # Some file systems do not tell capitals from small letters.
        while name.lower() in taken:
            number += 1
            name = f"{base}--{number}"
        taken.add(name.lower())
        names[key] = f"{name}.html"
    return names


def scenario_words(scenario: str, *, control: bool) -> str:
    """What the page of a scenario is named by."""
    return name_of(scenario).removeprefix("test_") + (".control" if control else "")


def trial_words(parts: Sequence[str]) -> str:
    """What the page of a trial is named by: its run, if there are several, and its id."""
    return ".".join(part for part in parts if part)
