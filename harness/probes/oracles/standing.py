"""The oracles of one trial: made when its nodes are up, asked when it is over and healed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.lab import Node
from harness.probes.dockerd_deaths import DockerdDeaths
from harness.probes.oracles import reconciled
from harness.probes.oracles.picture import Picture, take_picture
from harness.probes.oracles.raft import fallen_terms, raft_lines, shared_terms
from harness.probes.oracles.routes import wrong_routes
from harness.swarm import SwarmClient
from harness.trial import Expectation, Trial
from harness.trial.oracles import (
    ABSENT,
    EVENTUALLY,
    LEADERS,
    MEMBERS,
    OWNERS,
    ROUTES,
    STRAYS,
    TERMS,
    UPDATES,
    VIEWS,
    WRITES,
)

#: Seconds between two looks. To look is work for the managers.
_EVERY = 1.0

_SENTENCES = 3


@dataclass(frozen=True)
class Patience:
    """How long a swarm is given, in seconds.

    ``rest``: until all must have come to rest. A manager that lost its leader has one after 20 s at
    most, or after a second round (raft ticks of 1 s); an agent looks for it again after 8 s at
    most, its node is known to be gone after 16.5 s; a replaced task then has 5 s of restart delay,
    10 s of grace and its start: 20 + 20 + 8 + 16.5 + 5 + 10 = 80 s, and a third for a slow machine.

    ``wrong``: for which something must have been wrong without a break. A task that fails at once
    is replaced after 5 s, for ever, and is somewhere on its way at every look.

    ``answer``: for one answer, which a manager without a leader gives after 20 s (moby
    daemon/cluster, swarmRequestTimeout). ``write``: for a write, which is tried twice.
    """

    rest: float = 110.0
    wrong: float = 30.0
    answer: float = 25.0
    write: float = 45.0


Problems = Mapping[Expectation, Sequence[str]]

_CHECKS: Mapping[Expectation, Callable[[Picture], list[str]]] = {
    OWNERS: reconciled.resources_with_two_owners,
    STRAYS: reconciled.containers_unwanted,
    ABSENT: reconciled.tasks_absent,
    MEMBERS: reconciled.members_not_back,
    VIEWS: reconciled.managers_apart,
    UPDATES: reconciled.updates_under_way,
}


@dataclass(frozen=True)
class Rest:
    """How a swarm came to rest: after ``seconds``, with what was still wrong.

    ``answered`` False: no manager listed anything at the end.
    """

    seconds: float
    problems: Problems
    answered: bool = True


class StandingOracles:
    """All oracles of a trial. Nothing watches in between: they cost its scenario nothing."""

    def __init__(
        self, nodes: Iterable[Node], trial: Trial, patience: Patience | None = None
    ) -> None:
        self._patience = patience or Patience()
        self._nodes = list(nodes)
        self._trial = trial
        self._deaths = DockerdDeaths(self._nodes, trial)

    def record(self, swarm: SwarmClient | None, off: Mapping[str, str]) -> None:
        """Record the measure of every oracle but those that are ``off``: name -> reason.

        ``swarm`` None: the scenario formed none, so there is nothing to come to rest.
        """
        for name, reason in off.items():
            self._trial.oracle_off(name, reason)
        self._deaths.look()
        if swarm is not None and (asked := [o for o in EVENTUALLY if o.name not in off]):
            self._record_rest(swarm, asked)
        self._record_raft(off)
        self._deaths.record(off=off)

    def _record_raft(self, off: Mapping[str, str]) -> None:
        logs = [(node.name, raft_lines(node.log)) for node in self._nodes]
        for oracle, problems in ((LEADERS, shared_terms(logs)), (TERMS, fallen_terms(logs))):
            if oracle.name not in off:
                self._take(oracle, problems)

    def _record_rest(self, swarm: SwarmClient, asked: Sequence[Expectation]) -> None:
        if self._majority_is_down() and self._refusals(swarm):
            for oracle in asked:
                self._trial.oracle_off(oracle.name, "no majority of managers is up, as it is meant")
            return
        rest = come_to_rest(
            self._picture, lambda picture: self._problems(picture, asked), self._patience
        )
        left = {oracle.name: list(said) for oracle, said in rest.problems.items() if said}
        self._trial.journal.write("oracles.rest", seconds=rest.seconds, left=left)
        for oracle in asked:
            if oracle is WRITES:
                self._take(WRITES, self._refusals(swarm))
            elif not rest.answered:
                self._trial.oracle_off(oracle.name, "no manager lists anything")
            elif oracle in rest.problems:
                self._take(oracle, rest.problems[oracle])
            else:
                self._trial.oracle_off(oracle.name, "the tasks it follows have not come to rest")

    def _picture(self) -> Picture:
        return take_picture(self._nodes, self._patience.answer)

    def _problems(self, picture: Picture, asked: Sequence[Expectation]) -> Problems:
        found = {oracle: check(picture) for oracle, check in _CHECKS.items() if oracle in asked}
        if ROUTES in asked and not any(found.values()):  # they follow the tasks
            found[ROUTES] = wrong_routes(picture, self._nodes)
        return found

    def _majority_is_down(self) -> bool:
        """Whether fewer managers are to be up than elect a leader; what died unasked is to be."""
        here = [node for node in self._nodes if node.planned_role == "manager"]
        down = [n for n in here if not (n.up and n.dockerd.alive) and not n.dockerd_ends.unasked]
        return len(here) - len(down) < len(here) // 2 + 1

    def _refusals(self, swarm: SwarmClient) -> list[str]:
        written = swarm.time_to_write(within=self._patience.write)
        return [] if written.reached else [written.last]

    def _take(self, oracle: Expectation, problems: Sequence[str]) -> None:
        more = f" and {len(problems) - _SENTENCES} more" if len(problems) > _SENTENCES else ""
        self._trial.measures(oracle, len(problems), note="; ".join(problems[:_SENTENCES]) + more)


def come_to_rest(
    look: Callable[[], Picture],
    check: Callable[[Picture], Problems],
    patience: Patience,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Rest:
    """Look until nothing is wrong, for as long as patience lasts.

    What is still wrong then counts if it has been so, in the same words, for long enough.
    """
    began = clock()
    since: dict[tuple[Expectation, str], float] = {}
    while True:
        picture = look()
        problems = check(picture)
        now = clock()
        wrong = {(oracle, said) for oracle, found in problems.items() for said in found}
        since = {each: since.get(each, now) for each in wrong}
        answered = picture.truth is not None
        if (answered and not wrong) or now - began >= patience.rest:
            lasting = {
                oracle: [s for s in found if now - since[oracle, s] >= patience.wrong]
                for oracle, found in problems.items()
            }
            return Rest(round(now - began, 6), lasting, answered)
        sleep(_EVERY)
