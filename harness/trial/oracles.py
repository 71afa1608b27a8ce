"""What is held against every trial, whatever its scenario is about.

Oracles are bounds like any other: a broken one fails the trial. But they hold in a trial that
looked at nothing, so they are no sign that a scenario has measured anything
(:func:`of_the_scenario`). Each counts what is wrong, and must count nothing. Those of
:data:`ALWAYS` hold whatever is injected. Those of :data:`EVENTUALLY` hold when all is healed, a
short time after the scenario's end that no measure of the scenario's own sees.

The probes behind them are in :mod:`harness.probes.oracles`; each is broken on real nodes by the
control it names, in ``tests/integration/test_probes_oracles.py``.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.trial.expectation import Expectation
from harness.trial.measure import Measure

_BROKEN_BY = (
    "scenarios/test_poisoned_spec.py breaks it, by a bug that every engine below 29.5 is known "
    "to have"
)

DIED = Expectation(
    "dockerds that died unasked",
    unit="1",
    exactly=0,
    source="a spec or a packet must never end a daemon; whoever ends it here is known",
    no_control=_BROKEN_BY,
)
PANICKED = Expectation(
    "panics in dockerds' logs",
    unit="lines",
    exactly=0,
    source="a spec or a packet must never end a daemon: the Go runtime says so when one does",
    no_control=_BROKEN_BY,
)
LEADERS = Expectation(
    "raft terms with two leaders",
    unit="1",
    exactly=0,
    source="raft, section 5.2: election safety, at most one leader can be elected in a term",
    control="test_control_two_clusters_elect_in_one_term",
)
TERMS = Expectation(
    "raft terms that fell",
    unit="1",
    exactly=0,
    source="raft, section 5.1: the current term increases monotonically, and is on disk",
    control="test_control_a_manager_forgets_its_term",
)
OWNERS = Expectation(
    "resources with two owners",
    unit="1",
    exactly=0,
    source="an address, a subnet, a VXLAN id, a published port and a slot have one owner",
    control="test_control_two_swarms_are_taken_for_one",
)
STRAYS = Expectation(
    "containers that no task wants",
    unit="1",
    exactly=0,
    source="a node runs the tasks it was given, and what is not wanted ends within its grace",
    control="test_control_a_container_is_left_behind",
)
ABSENT = Expectation(
    "tasks that do not run",
    unit="1",
    exactly=0,
    source="what the store calls running runs, and what it wants to run gets there or is told",
    control="test_control_a_container_is_gone",
)
MEMBERS = Expectation(
    "members that are not back",
    unit="1",
    exactly=0,
    source="agents return within the dispatcher's 8 s of back-off, managers with the next leader",
    control="test_control_a_member_stays_away",
)
VIEWS = Expectation(
    "managers that list otherwise",
    unit="1",
    exactly=0,
    source="every manager answers from the one store, through the leader",
    control="test_control_a_manager_answers_otherwise",
)
UPDATES = Expectation(
    "updates that have not ended",
    unit="1",
    exactly=0,
    source="an update is completed, paused or rolled back; no leader may forget it",
    control="test_control_an_update_is_under_way",
)
ROUTES = Expectation(
    "names and routes that lead elsewhere",
    unit="1",
    exactly=0,
    source="names, virtual addresses and forwarding entries are those of the tasks that run",
    control="test_control_a_route_is_gone",
)
WRITES = Expectation(
    "writes that no manager takes",
    unit="1",
    exactly=0,
    source="a majority that is connected elects a leader, and the leader takes writes",
    control="test_control_no_majority",
)

ALWAYS = (DIED, PANICKED, LEADERS, TERMS)
EVENTUALLY = (OWNERS, STRAYS, ABSENT, MEMBERS, VIEWS, UPDATES, ROUTES, WRITES)
ORACLES = (*ALWAYS, *EVENTUALLY)

NAMES = frozenset(oracle.name for oracle in ORACLES)


def of_the_scenario(measures: Iterable[Measure]) -> list[Measure]:
    """Return the measures that the scenario itself has taken."""
    return [measure for measure in measures if measure.name not in NAMES]


def of_every_trial(measures: Iterable[Measure]) -> list[Measure]:
    """Return the measures that are taken in every trial."""
    return [measure for measure in measures if measure.name in NAMES]


def broken_oracles(measures: Iterable[Measure]) -> list[Measure]:
    """Return the measures of every trial whose bound does not hold."""
    return [measure for measure in of_every_trial(measures) if measure.ok is False]
