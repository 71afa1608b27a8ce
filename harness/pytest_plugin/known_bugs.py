"""Bugs that engines are known to have: a scenario is then expected to fail, and by what.

The expectation is strict. A scenario that passes although its engine should have the bug fails
the suite: the bug is gone, and the mark has to go too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from harness.engine.versions import release_key
from harness.errors import UsageError
from harness.pytest_plugin.markers import is_scenario
from harness.trial import Expectation, ExpectationFailed, TrialRecord, unbroken, unexplained

_KEYWORDS = {"engines", "measures"}


class BugGone(AssertionError):
    """A scenario passed where it should have failed by a known bug."""


@dataclass(frozen=True)
class KnownBug:
    """One mark: threads upstream, the engines that have it, the measures that it breaks.

    Without measures, any broken bound counts for it.
    """

    threads: tuple[str, ...]
    engines: SpecifierSet
    measures: tuple[str, ...]

    @classmethod
    def of(cls, mark: pytest.Mark, where: str) -> KnownBug:
        """Read a mark; :class:`UsageError` naming ``where`` for one that cannot be meant."""
        if unknown := sorted(set(mark.kwargs) - _KEYWORDS):
            raise UsageError(f"{where}: known_bug knows no {', '.join(unknown)}")
        if not mark.args or not all(isinstance(thread, str) for thread in mark.args):
            raise UsageError(
                f"{where}: a known_bug names the thread that knows it, like moby/moby#35849"
            )
        written = mark.kwargs.get("engines", "")
        try:
            engines = SpecifierSet(written, prereleases=True)
        except (InvalidSpecifier, AttributeError, TypeError):
            raise UsageError(
                f"{where}: {written!r} names no engines", hint='write engines="<28.0" or ">=29,<30"'
            ) from None
        measures: Any = mark.kwargs.get("measures", ())
        if isinstance(measures, str) or not all(isinstance(m, Expectation) for m in measures):
            raise UsageError(f"{where}: a known_bug's measures are a list of expectations")
        return cls(mark.args, engines, tuple(expectation.name for expectation in measures))

    def concerns(self, version: str) -> bool:
        """Return whether an engine of this version has it; one without a version has none."""
        try:
            return self.engines.contains(release_key(version))
        except ValueError:
            return False


def bugs_of(item: pytest.Item) -> list[KnownBug]:
    """Return all that an item is marked with; a control has none, it must fail in any case."""
    if item.get_closest_marker("control"):
        return []
    return [KnownBug.of(mark, item.nodeid) for mark in item.iter_markers("known_bug")]


def check(items: Iterable[pytest.Item]) -> None:
    """Read the marks of all scenarios, so that a wrong one is refused before anything runs."""
    for item in items:
        if is_scenario(item):
            bugs_of(item)


def expected_of(bugs: Iterable[KnownBug], version: str) -> tuple[Sequence[str], Sequence[str]]:
    """Threads and measures of the bugs that an engine of this version has."""
    here = [bug for bug in bugs if bug.concerns(version)]
    return (
        list(dict.fromkeys(thread for bug in here for thread in bug.threads)),
        list(dict.fromkeys(name for bug in here for name in bug.measures)),
    )


def conclude_expected(record: TrialRecord) -> None:
    """End a test that failed as its known bug would have it: an expected failure for pytest."""
    pytest.xfail(f"known bug {', '.join(record.known_bugs)}: {record.reason}")


def unexpected(record: TrialRecord) -> AssertionError:
    """Return what to say of a trial with known bugs that came out otherwise."""
    if otherwise := unexplained(record):
        return ExpectationFailed(otherwise)
    kept = f": not by {', '.join(unbroken(record))}" if unbroken(record) else ""
    return BugGone(
        f"the known bug {', '.join(record.known_bugs)} does not show "
        f"with engine {record.inputs.engine.version}{kept}\n"
        "  -> if it is fixed there, take the engine out of the mark known_bug"
    )
