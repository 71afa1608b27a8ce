"""The documents keep step with the code, and their links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optionals import not_none

from harness import errors, pytest_plugin
from harness.cli import main
from harness.doctor.labs import NEEDS
from harness.engine.catalogue import KNOWN
from harness.load.outcome import OUTCOMES
from harness.pytest_plugin import fixtures, options
from harness.trial import Measure, TrialInputs, TrialRecord

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        REPOSITORY / "README.md",
        REPOSITORY / "CHANGELOG.md",
        *(REPOSITORY / "docs").glob("*.md"),
        REPOSITORY / "vagrant" / "README.md",
        REPOSITORY / "reports" / "README.md",
    ]
)
REFERENCE = (REPOSITORY / "docs" / "reference.md").read_text()
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_JOURNALLED = re.compile(r'(?:journal\.write|\.note|_journal\.write)\(\s*"([a-z][a-z0-9_.]*)"')


def anchors(text: str) -> Iterator[str]:
    """The anchors that the headings of a Markdown ``text`` make."""
    for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere(document: Path) -> None:
    for link in _LINK.findall(document.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), link
        if anchor:
            assert anchor in set(anchors(target.read_text())), link


def test_every_command_is_in_the_reference() -> None:
    commands = {*main.COMMANDS, *main.cli.commands}
    assert {name for name in commands if f"`swarm-chaos {name}" not in REFERENCE} == set()


class Parser:
    """Takes what the harness declares, as pytest's parser does."""

    def __init__(self) -> None:
        self.shown: list[Any] = []

    def getgroup(self, *_: str) -> Any:
        return self

    def addoption(self, name: str, **settings: str) -> None:
        if settings.get("help") != "(internal)":
            self.shown.append(name)


def test_every_option_of_the_scenarios_is_in_the_reference() -> None:
    parser: Any = Parser()
    options.declare(parser)
    assert "--engine" in parser.shown
    assert {name for name in parser.shown if f"| `{name}" not in REFERENCE} == set()


def test_every_fixture_and_mark_of_the_scenarios_is_in_the_reference() -> None:
    names = {name for name in pytest_plugin.__all__ if not name.startswith("pytest_")} - {
        "point",
        "Probes",
    }
    assert all(hasattr(fixtures, name) for name in names)
    marks = {not_none(re.match(r"\w+", mark))[0] for mark in pytest_plugin.MARKERS}
    assert {n for n in names if f"| `{n}`" not in REFERENCE} == set()
    assert {m for m in marks if not re.search(rf"`@pytest\.mark\.{m}[(`]", REFERENCE)} == set()


def test_every_exit_code_is_in_the_reference() -> None:
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    for code in codes | {errors.EXIT_INTERRUPTED}:
        assert f"\n| {code} | " in REFERENCE


def test_every_kind_of_journal_entry_is_in_the_reference() -> None:
    written = {
        kind
        for path in (REPOSITORY / "harness").rglob("*.py")
        for kind in _JOURNALLED.findall(path.read_text())
    }
    assert "trial.start" in written
    assert {kind for kind in written if f"`{kind}`" not in REFERENCE} == set()


OF_THE_HARNESS_ITSELF = {
    "SWARM_CHAOS_CLOCK",
    "SWARM_CHAOS_SURVIVAL",
    "SWARM_CHAOS_FREEZE",
    "SWARM_CHAOS_OVERLAY",
    "SWARM_CHAOS_WARM",
    "SWARM_CHAOS_HOLD",
    "SWARM_CHAOS_LAB",
    "SWARM_CHAOS_LOAD",
    "SWARM_CHAOS_LOCKSTEP",
    "SWARM_CHAOS_MACHINES",
    "SWARM_CHAOS_NETWORK",
}
"""How the harness hands its own children what they need; nobody else sets them."""


def test_every_environment_variable_is_in_the_reference() -> None:
    named = {
        name
        for path in (REPOSITORY / "harness").rglob("*.py")
        for name in re.findall(r"\"(SWARM_CHAOS_[A-Z_]+)\"", path.read_text())
    }
    named -= OF_THE_HARNESS_ITSELF
    assert {name for name in named if f"`{name}`" not in REFERENCE} == set()


@pytest.mark.parametrize("kind", [TrialRecord, TrialInputs, Measure])
def test_every_key_of_the_record_is_in_the_reference(kind: type[Any]) -> None:
    assert {key for key in kind.__struct_fields__ if f"`{key}`" not in REFERENCE} == set()


def test_every_engine_and_outcome_is_in_the_reference() -> None:
    for known in KNOWN:
        assert f"| {known.version} | Debian {known.suite} |" in REFERENCE
        assert all(f"`{alias}`" in REFERENCE for alias in known.aliases)
    assert all(f"`{outcome}`" in REFERENCE for outcome in OUTCOMES)


def test_every_room_is_in_the_architecture() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text()
    rooms = {
        path.stem
        for path in (REPOSITORY / "harness").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__"}
    assert "trial" in rooms
    assert {room for room in rooms if f"`{room}`" not in text} == set()


def test_every_lab_is_in_the_architecture() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text()
    assert all(f"`{lab}`" in text for lab in NEEDS)


def test_every_make_target_explains_itself() -> None:
    text = (REPOSITORY / "Makefile").read_text()
    [phony] = re.findall(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)
    explained = set(re.findall(r"^## make (\w+)", text, flags=re.MULTILINE))
    assert explained == set(phony.split()) - {"help"}
