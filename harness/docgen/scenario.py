"""A scenario as a reader wants to know it: what it is about, asks for, measures and expects."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.docgen.source import Measured, measured_by
from harness.pytest_plugin.expectations import broken_by


@dataclass
class Scenario:
    """One test function of the scenarios; ``cases`` are the names of its parameters' values.

    ``about`` is what its file says of itself, the first line being the class of failure.
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
    control: list[str]
    measures: list[Measured]

    @classmethod
    def of(cls, item: pytest.Function, topology: str, folder: Path) -> Scenario:
        """From the first of its items."""
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
            known_bugs=[_known_bug(mark) for mark in item.iter_markers("known_bug")],
            thorough=item.get_closest_marker("thorough") is not None,
            control=broken_by(item),
            measures=measured_by(item.function, folder),
        )

    @property
    def is_control(self) -> bool:
        """Whether it is a swarm broken on purpose."""
        return bool(self.control)

    def facts(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def _args(item: pytest.Function, marker: str) -> list[str]:
    """All that the marks of one name say, each once, the file's first."""
    said = [str(arg) for mark in reversed(list(item.iter_markers(marker))) for arg in mark.args]
    return list(dict.fromkeys(said))


def _known_bug(mark: pytest.Mark) -> str:
    engines = mark.kwargs.get("engines") or "all engines"
    return f"{', '.join(map(str, mark.args))} ({engines})"
