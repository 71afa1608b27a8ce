"""Who leads, by each manager's own view, read from the lines raft writes to dockerd's log.

The lines are written by every manager the moment its view changes, to the nanosecond, in every
engine from 2017 on; reading them costs the swarm nothing and works while its API does not answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from harness.lab import Node
from harness.probes.sampling.log_tail import LogTail
from harness.probes.sampling.timestamps import epoch_seconds, to_trial_time
from harness.trial import Trial
from harness.wait import Elapsed, Moment, NotYet, monotonic_moment, time_until, trial_moment

#: etcd's raft (node.go), logged by swarmkit: elected, changed or lost.
LINE = re.compile(
    r'^time="(?P<time>[^"]+)".*?msg="raft\.node: (?P<own>[0-9a-f]+) '
    r"(?:elected leader (?P<elected>[0-9a-f]+)"
    r"|changed leader from [0-9a-f]+ to (?P<changed>[0-9a-f]+)"
    r'|lost leader [0-9a-f]+) at term (?P<term>\d+)"',
    re.MULTILINE,
)


@dataclass(frozen=True)
class View:
    """One manager's view from ``t`` (trial seconds) on: raft ids are resolved to node names.

    ``leader`` is None while the manager knows of none.
    """

    t: float
    by: str
    leader: str | None
    term: int


def views_of(
    logs: Iterable[tuple[str, Sequence[re.Match[str]]]], *, to_trial_time: float
) -> list[View]:
    """Return the views in dockerd logs, given as (node name, matches of ``LINE``), by time.

    ``to_trial_time`` is added to a line's UTC stamp in seconds. A leader whose own log does not
    show its raft id keeps the id for a name.
    """
    found = []
    names: dict[str, str] = {}
    for node, matches in logs:
        for match in matches:
            names[match["own"]] = node
            found.append((epoch_seconds(match["time"]), node, match))
    rows = []
    for stamp, node, match in found:
        leader = match["elected"] or match["changed"]
        rows.append(
            View(
                round(stamp + to_trial_time, 6),
                node,
                names.get(leader, leader) if leader else None,
                int(match["term"]),
            )
        )
    return sorted(rows, key=lambda view: (view.t, view.by))


class Leadership:
    """The probe on a lab's managers.

    ::

        with faults.kill_dockerd(leader) as outage:
            took = leadership.time_to_new_leader(
                other_than=leader, since=outage, within=45
            )
    """

    def __init__(self, nodes: Iterable[Node], trial: Trial) -> None:
        self._logs = [(n.name, LogTail(n.log, LINE)) for n in nodes]
        self._trial = trial

    def views(self) -> list[View]:
        """Return all views logged so far, those before the trial included (negative times)."""
        matches = [(node, log.matches()) for node, log in self._logs]
        return views_of(matches, to_trial_time=to_trial_time(self._trial.clock))

    def time_to_new_leader(
        self, *, other_than: Node | None = None, since: Moment, within: float = 60.0
    ) -> Elapsed:
        """Measure the time from ``since`` (monotonic) until a manager (other than one) was elected.

        Elected means that a manager itself says so: raft says it when a majority has voted. The
        time is that of the line, not of its reading.
        """
        start = self._trial.clock.at(monotonic_moment(since))
        other = other_than.name if other_than is not None else None

        def elected() -> list[View] | NotYet:
            later = [
                view
                for view in self.views()
                if view.t >= start and view.leader == view.by and view.by != other
            ]
            return later or NotYet("no manager has been elected")

        seen = time_until(elected, state="an election", within=within, every=0.25, since=since)
        if not seen.reached:
            return seen
        views = elected()
        assert not isinstance(views, NotYet)
        self._trial.journal.write("leader", leader=views[0].leader, by=views[0].by, at=views[0].t)
        return Elapsed(round(views[0].t - start, 6), reached=True)

    def elections(self, *, since: Moment) -> list[View]:
        """Return all elections from ``since`` (trial seconds) on, as their winners saw them."""
        began = trial_moment(since)
        return [view for view in self.views() if view.t >= began and view.leader == view.by]

    def save(self) -> None:
        """Write ``samples/leadership.jsonl``: all changes of view since the trial began.

        What each manager held at the beginning is the first line of each, at 0.
        """
        self._trial.write_samples("leadership", self._rows())

    def _rows(self) -> Iterator[dict[str, object]]:
        views = self.views()
        before = {view.by: replace(view, t=0.0) for view in views if view.t < 0}
        for view in [*before.values(), *(view for view in views if view.t >= 0)]:
            yield {**asdict(view), "error": ""}
