"""Every command in the documents is one that there is, with options that it has.

They are not run: most of them take minutes, or a machine. What they are called with is parsed by
the commands themselves, so that an option that was renamed is found wherever it is written.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from harness.cli import main
from harness.pytest_plugin import options

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *sorted((REPOSITORY / "examples").glob("*/README.md")),
]
PYTESTS = {"--co", "--collect-only", "--junitxml", "--lf", "--pdb"}
"""Options of pytest's own that documents use."""

_BLOCK = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ENDS = {"|", "||", "&&", "&", ";", ">", ">>", "2>&1", "<"}


def commands_of(text: str) -> Iterator[list[str]]:
    """The words of each command line of ours in a Markdown text, without `swarm-chaos` itself."""
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            try:
                words = shlex.split(line.removeprefix("$ "), comments=True)
            except ValueError:
                continue  # an excerpt of what was printed
            if words and words[0].rpartition("/")[2] == "swarm-chaos":
                ends = [n for n, word in enumerate(words) if word in _ENDS]
                yield words[1 : ends[0] if ends else None]


WRITTEN = sorted(
    {
        (str(document.relative_to(REPOSITORY)), tuple(words))
        for document in DOCUMENTS
        for words in commands_of(document.read_text())
    }
)


@pytest.fixture(scope="module")
def of_scenarios() -> set[str]:
    """The options of the scenarios, which `run` hands on to pytest."""
    declared: set[str] = set()

    class Parser:
        def getgroup(self, *_: str) -> Any:
            return self

        def addoption(self, name: str, **_: Any) -> None:
            declared.add(name)

    parser: Any = Parser()
    options.declare(parser)
    return declared


@pytest.mark.parametrize(
    ("document", "words"), WRITTEN, ids=[f"{name}: {' '.join(words)}" for name, words in WRITTEN]
)
def test_it_can_be_typed(document: str, words: tuple[str, ...], of_scenarios: set[str]) -> None:
    command: click.Command = main.cli
    context = click.Context(command, info_name="swarm-chaos")
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, name := rest.pop(0))
        assert found is not None, f"{document}: there is no command {name}"
        settings = found.context_settings
        command, context = found, click.Context(found, context, info_name=name, **settings)
    if context.ignore_unknown_options:
        _, left, _ = command.make_parser(context).parse_args(list(rest))
        given = {word.partition("=")[0] for word in left if word.startswith("--")}
        assert given - of_scenarios - PYTESTS == set(), document
    else:
        command.make_parser(context).parse_args(rest)


def test_there_are_enough_of_them_to_say_something() -> None:
    assert len(WRITTEN) > 80
