"""A scenario as a reader wants to know it: what it is about, asks for, measures and expects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from harness.pytest_plugin.expectations import broken_by, stated_in
from harness.pytest_plugin.known_bugs import KnownBug, bugs_of
from harness.pytest_plugin.markers import scenario_id
from harness.trial import Expectation, Observation


@dataclass(frozen=True)
class StatedMeasure:
    """A measure as its file states it; ``expected`` is empty for one that is only recorded.

    ``controls`` are the scenarios in which it must be broken; without any, ``no_control`` says why.
    """

    name: str
    unit: str
    expected: str
    source: str
    controls: tuple[str, ...]
    no_control: str

    @classmethod
    def of(cls, stated: Expectation | Observation) -> StatedMeasure:
        """Return it as text: ``at most 45``."""
        if isinstance(stated, Observation):
            return cls(stated.name, stated.unit, "", "", (), "")
        words = {"below": "at most", "above": "at least", "equals": "exactly"}[stated.bound.op]
        return cls(
            name=stated.name,
            unit=stated.unit,
            expected=f"{words} {stated.limit:g}",
            source=stated.source,
            controls=stated.controls,
            no_control=stated.no_control,
        )


@dataclass
class Scenario:
    """One test function of the scenarios; ``cases`` are the names of its parameters' values.

    ``about`` is what its file says of itself, the first line being the class of failure, and
    ``measures`` are those that its file states. ``must_break`` are a control's.
    """

    name: str
    file: str
    about: str
    title: str
    cases: list[str]
    topology: str
    threads: list[str]
    needs: list[str]
    known_bugs: list[str]
    thorough: bool
    is_control: bool
    must_break: list[str]
    measures: list[StatedMeasure]

    @classmethod
    def of(cls, item: pytest.Function, topology: str) -> Scenario:
        """Return the scenario of the first of its items."""
        about = (item.module.__doc__ or "").strip()
        title = (item.function.__doc__ or "").strip()
        return cls(
            name=item.originalname,
            file=item.path.name,
            about=about,
            title=" ".join(title.split("\n\n")[0].split()),
            cases=[],
            topology=topology,
            threads=_args(item, "upstream"),
            needs=_args(item, "needs"),
            known_bugs=[],
            thorough=item.get_closest_marker("thorough") is not None,
            is_control=item.get_closest_marker("control") is not None,
            must_break=broken_by(item),
            measures=list(dict.fromkeys(StatedMeasure.of(each) for each in stated_in(item.module))),
        )

    def add_marks(self, items: Iterable[pytest.Function], cases: Iterable[str]) -> None:
        """Add the threads and known bugs of its items; what only some of its cases have says so."""
        bugs: dict[str, list[str]] = {}
        for item, case in zip(items, cases, strict=True):
            threads = _args(item, "upstream")
            self.threads.extend(each for each in threads if each not in self.threads)
            for mark in item.iter_markers("known_bug"):
                bugs.setdefault(_known_bug(mark), []).append(case)
        everywhere = len(self.cases) or 1
        self.known_bugs = [
            bug if len(having) == everywhere else f"{', '.join(having)}: {bug}"
            for bug, having in bugs.items()
        ]

    def facts(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class Case:
    """One case of a scenario, whatever engine and seed: its id, its threads, its known bugs.

    ``keyword`` chooses it with pytest's ``-k``.
    """

    id: str
    name: str
    keyword: str
    threads: tuple[str, ...]
    bugs: tuple[KnownBug, ...]
    thorough: bool

    @classmethod
    def of(cls, item: pytest.Function) -> Case:
        """Return the case of an item."""
        id_ = scenario_id(item)
        name = id_.rpartition("::")[2].removeprefix("test_")
        function, _, parameters = name.partition("[")
        words = [function, *parameters.removesuffix("]").split("-")] if parameters else [function]
        return cls(
            id=id_,
            name=name,
            keyword=" and ".join(words),
            threads=tuple(dict.fromkeys([*_args(item, "known_bug"), *_args(item, "upstream")])),
            bugs=tuple(bugs_of(item)),
            thorough=item.get_closest_marker("thorough") is not None,
        )


def _args(item: pytest.Function, marker: str) -> list[str]:
    """Return the arguments of all marks of one name, each once, the file's first."""
    given = [str(arg) for mark in reversed(list(item.iter_markers(marker))) for arg in mark.args]
    return list(dict.fromkeys(given))


def _known_bug(mark: pytest.Mark) -> str:
    engines = mark.kwargs.get("engines") or "all engines"
    return f"{', '.join(map(str, mark.args))} ({engines})"
