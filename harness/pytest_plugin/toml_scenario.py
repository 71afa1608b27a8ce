"""Scenarios without Python: ``*.chaos.toml``, collected as a test like any other.

::

    title = "A leader's death costs users next to nothing"
    topology = "3m"
    watch = "40s"                    # how long users are watched, from the first fault's clock on

    [[fault]]                        # as in a schedule of faults
    at = "5s"
    for = "20s"
    fault = "dockerd-killed"
    target = "leader"

    [[expect]]
    measure = "time to a new leader"
    at_most = 45
    source = "swarmkit: an election takes 10 to 20 ticks of 1 s, or two rounds"

    [[control.fault]]                # the same with other faults: every expectation must break
    ...
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from harness.errors import UsageError
from harness.faults.parameter import duration
from harness.faults.schedule.schedule_file import Chance, Entry, Schedule
from harness.faults.toml_file import position, read_tables
from harness.lab import Topology
from harness.swarm import balanced_web
from harness.trial import Expectation
from harness.trial.measure import Value
from harness.wait import Elapsed

if TYPE_CHECKING:
    from harness.faults import Faults
    from harness.load import Load, Traffic
    from harness.probes.leadership import Leadership
    from harness.swarm import Deployment, Swarm
    from harness.trial import Measures

SUFFIX = ".chaos.toml"

#: What an expectation may be about, and its unit.
UNITS: Mapping[str, str] = {
    "requests lost": "1",
    "share of 50x": "1",
    "longest time without an answer": "s",
    "99th percentile of answers": "s",
    "time to a new leader": "s",
    "time until the API accepts a write": "s",
    "time until every task runs again": "s",
}


class LoadTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """``[load]``: how many users ask, each ``per_user`` times a second."""

    users: int = 10
    per_user: float = 1.0


class ExpectTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """``[[expect]]``: a measure and the bound that it has to keep."""

    measure: str
    at_most: float | None = None
    at_least: float | None = None
    source: str
    no_control: str = ""


class ControlTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """``[control]``: the faults under which every expectation without ``no_control`` must break."""

    fault: list[Entry] = []
    random: list[Chance] = []


class TomlScenario(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A whole file; its JSON Schema is ``docs/schema/scenario.schema.json``."""

    title: str
    topology: str = "3m"
    watch: str
    upstream: list[str] = []
    needs: list[str] = []
    load: LoadTable = LoadTable()
    fault: list[Entry] = []
    random: list[Chance] = []
    expect: list[ExpectTable]
    control: ControlTable | None = None


def read_scenario(path: Path) -> TomlScenario:
    """Return a file's scenario; :class:`UsageError` with line and column for what is wrong."""
    text, raw = read_tables(path)
    try:
        found = msgspec.convert(raw, TomlScenario)
        _check(found, path)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        raise UsageError(f"{path}{position(text, place.rstrip('`'))}: {what}") from error
    return found


def _check(found: TomlScenario, path: Path) -> None:
    Topology.parse(found.topology)
    duration(found.watch)
    if not found.expect:
        raise msgspec.ValidationError("it expects nothing: give one [[expect]]")
    for number, each in enumerate(found.expect):
        if each.measure not in UNITS:
            known = ", ".join(UNITS)
            raise msgspec.ValidationError(
                f"{each.measure!r} is not a measure: {known} - at `$.expect[{number}].measure`"
            )
        if (found.control is None) and not each.no_control:
            raise msgspec.ValidationError(
                "give a [control], or no_control and why there is none - at "
                f"`$.expect[{number}].measure`"
            )
    for schedule in filter(None, (_schedule(found, control=c) for c in (False, True))):
        schedule.plan(1, name=str(path), lines="")


def _schedule(found: TomlScenario, *, control: bool) -> Schedule | None:
    """Return the faults of the scenario or its control; None if there is none of them."""
    source = found.control if control else found
    if source is None or not (source.fault or source.random):
        return None
    return Schedule(fault=source.fault, random=source.random)


class TomlFile(pytest.Module):
    """A file, seen as the module of its test and control."""

    def _getobj(self) -> ModuleType:
        try:
            return module_of(read_scenario(self.path), self.path)
        except UsageError as error:
            raise self.CollectError(str(error)) from error


def module_of(found: TomlScenario, path: Path) -> ModuleType:
    """Return the module that a person would have written for the scenario."""
    stem = re.sub(r"\W+", "_", path.name.removesuffix(SUFFIX))
    name, control = f"test_{stem}", f"test_control_{stem}"
    module = ModuleType(name, found.title)
    expectations = {
        each.measure: Expectation(
            each.measure,
            unit=UNITS[each.measure],
            at_most=each.at_most,
            at_least=each.at_least,
            source=each.source,
            control=() if each.no_control or found.control is None else control,
            no_control=each.no_control,
        )
        for each in found.expect
    }
    module.__dict__["EXPECTED"] = expectations
    module.__dict__[name] = _test(name, found, expectations, control=False)
    if found.control is not None:
        module.__dict__[control] = _test(control, found, expectations, control=True)
    return module


def _test(
    name: str,
    found: TomlScenario,
    expectations: Mapping[str, Expectation],
    *,
    control: bool,
) -> Callable[..., None]:
    def test(
        swarm: Swarm, load: Load, faults: Faults, leadership: Leadership, measure: Measures
    ) -> None:
        carry_out(
            found,
            _schedule(found, control=control),
            expectations,
            SimpleNamespace(
                swarm=swarm, load=load, faults=faults, leadership=leadership, measure=measure
            ),
        )

    test.__name__ = test.__qualname__ = name
    test.__doc__ = found.title
    topology = Topology.parse(found.topology)
    made: Any = pytest.mark.swarm(
        managers=topology.managers, workers=topology.workers, spares=topology.spares
    )(test)
    for mark, arguments in (("upstream", found.upstream), ("needs", found.needs)):
        if arguments:
            made = getattr(pytest.mark, mark)(*arguments)(made)
    result: Callable[..., None] = pytest.mark.control(made) if control else made
    return result


def carry_out(
    found: TomlScenario,
    schedule: Schedule | None,
    expectations: Mapping[str, Expectation],
    fixtures: Any,
) -> None:
    """Deploy the harness's web, let users ask, carry out the faults, measure what is expected."""
    swarm: Swarm = fixtures.swarm
    measure: Measures = fixtures.measure
    web = swarm.deploy(balanced_web())
    leader, seconds = swarm.leader, duration(found.watch)
    values: dict[str, Value] = {}
    asked = found.load
    with fixtures.load.http(web, users=asked.users, per_user=asked.per_user) as traffic:
        began = time.monotonic()
        if schedule is not None:
            with fixtures.faults.schedule(schedule, on=swarm) as run:
                first = min(each.at for each in run.plan)
                swarm.observe(first, "users before the first fault", since=began)
                since = began + first
                if limit := _limit(expectations, "time to a new leader"):
                    values["time to a new leader"] = fixtures.leadership.time_to_new_leader(
                        other_than=leader, since=since, within=limit
                    )
                if limit := _limit(expectations, "time until the API accepts a write"):
                    values["time until the API accepts a write"] = swarm.time_to_write(
                        since=since, within=limit
                    )
                swarm.observe(seconds, "users while the swarm is broken", since=began)
                run.wait()
        healed = time.monotonic()
        if limit := _limit(expectations, "time until every task runs again"):
            values["time until every task runs again"] = _slowest(web, healed, limit)
        swarm.observe(seconds, "users, from the beginning on", since=began)
    values |= _of_users(traffic)
    for name, expectation in expectations.items():
        measure(expectation, values.get(name))


def _limit(expectations: Mapping[str, Expectation], name: str) -> float | None:
    return expectations[name].limit if name in expectations else None


def _slowest(web: Deployment, since: float, within: float) -> Elapsed:
    times = [
        web.time_to_running(service.name, since=since, within=within)
        for service in web.workload.services
        if service.job is None
    ]
    late = [each for each in times if not each.reached]
    return late[0] if late else max(times, key=lambda each: each.seconds)


def _of_users(traffic: Traffic) -> dict[str, Value]:
    served = traffic.share("ok")
    return {
        "requests lost": None if served is None else 1 - served,
        "share of 50x": traffic.share_of_50x,
        "longest time without an answer": traffic.longest_gap(),
        "99th percentile of answers": traffic.p99,
    }
