"""The README's table of the twelve classes of failure, against the scenarios that there are."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

#: What the post of 2017 named, as the README calls it.
CLASSES = [
    "overlay networks that split",
    "several overlay networks at once",
    'managers that say "context deadline exceeded"',
    '"sandbox does not exist"',
    "certificates renewed without end",
    "a GELF endpoint that goes away",
    "discovery stuck on dead containers",
    "private registries",
    "50x under load",
    "published ports that vanish",
    "nodes thrown out at 10 % packet loss",
    "images that new nodes cannot verify",
]

_LINK = re.compile(r"\[`(test_\w+)`\]\((scenarios/test_\w+\.py)\)")
_SECTION = re.compile(r"^- in \[`(test_\w+\.py)`\]", re.MULTILINE)
_SCENARIO = re.compile(r"^\| `(test_\w+)`(?: \[[^|]*\])? \| (.*) \|$", re.MULTILINE)


def classes_in_readme() -> dict[str, list[tuple[str, str]]]:
    """Return (scenario, file) by class, from the rows whose second cell names scenarios."""
    rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (REPOSITORY / "README.md").read_text().splitlines()
        if line.startswith("|")
    )
    return {row[0]: found for row in rows if len(row) == 3 and (found := _LINK.findall(row[1]))}


def default_scenarios() -> set[tuple[str, str]]:
    """Return (scenario, file) of those that run without an option, as docs/scenarios.md has them.

    That page is held against the code by another test.
    """
    page = (REPOSITORY / "docs" / "scenarios.md").read_text()
    _, *sections = _SECTION.split(page)
    return {
        (name, f"scenarios/{file}")
        for file, section in zip(sections[::2], sections[1::2], strict=True)
        for name, shows in _SCENARIO.findall(section)
        if "**Control**" not in shows and "Only with `--thorough`" not in shows
    }


def test_each_class_has_a_row_and_a_default_scenario() -> None:
    found, default = classes_in_readme(), default_scenarios()
    assert list(found) == CLASSES
    assert not {name for name, named in found.items() if not default & set(named)}


def test_each_scenario_that_is_named_is_there() -> None:
    named = {each for scenarios in classes_in_readme().values() for each in scenarios}
    missing = {
        each for each in named if f"def {each[0]}(" not in (REPOSITORY / each[1]).read_text()
    }
    assert not missing
