"""dockerd's logs: which lines of interest, how many, when, at whom.

The patterns are those that tell a fault of the network, of gossip, of raft or of a log driver
from a quiet swarm; the words are the engines' own (moby, swarmkit, memberlist). A line of interest
is a symptom: a scenario counts it and bounds what users feel.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.lab import Node
from harness.probes.sampling.log_tail import NewLines
from harness.probes.sampling.timestamps import epoch_seconds, to_trial_time
from harness.trial import Trial
from harness.wait import Elapsed, Moment, NotYet, monotonic_moment, time_until, trial_moment

PATTERNS: Mapping[str, str] = {
    # memberlist
    "suspect": r"memberlist: Suspect \S+ has failed",
    "marked failed": r"memberlist: Marking \S+ as failed",
    "refuted": r"memberlist: Refuting a suspect message",
    "udp blocked": r"memberlist: Was able to (reach|connect to) .* (UDP|via TCP)",
    # networkdb and overlay
    "node failed": r"change state NodeActive --> NodeFailed",
    "node left": r"change state \w+ --> NodeLeft",
    "node active": r"change state \w+ --> NodeActive",
    "bad health": r"healthscore:[1-9]",
    "transient state": r"possible transient state|transient condition",
    "neighbour present": r"Neighbor entry already present",
    "peer delete failed": r"Peer delete operation failed",
    "binding aborted": r"rmServiceBinding .* aborted|addServiceBinding .* aborted",
    "no address": r"could not find an available IP|ip addresses may be exhausted",
    "vxlan exists": r"error creating vxlan interface: file exists",
    "no sandbox": r"network sandbox does not exist|Could not find network sandbox",
    # swarmkit
    "session failed": r"agent: session failed",
    "heartbeat lost": r"heartbeat (expiration|failure|to manager .* failed)",
    "renewal": r"forced certificate renewal",
    "no leader": r"The swarm does not have a leader",
    "lost leader": r"raft\.node: \w+ lost leader",
    "elected": r"raft\.node: \w+ elected leader",
    "deadline": r"context deadline exceeded",
    "underweighted": r"underweighting node",
    "orphaned": r"moving tasks to orphaned",
    "port taken": r"port is already allocated|ddress already in use|create proxy for port",
    # log drivers, images
    "log lost": r"Error writing log message|Failed to log message",
    "pull failed": r"pulling image failed",
    "wrong manifest": r"manifest verification failed",
    # dockerd itself
    "panic": r"^panic: |fatal error: ",
    "data race": r"WARNING: DATA RACE",
}
"""Name of a pattern -> regular expression, searched for in a whole line."""

_STAMP = re.compile(r'^time="(?P<time>[^"]+)"')


@dataclass(frozen=True)
class Line:
    """A line of interest: ``t`` in trial seconds; a line without a stamp has the one before."""

    t: float
    node: str
    pattern: str
    text: str


class DockerdLogs:
    """The probe: what was logged since it was made (``samples/dockerd_logs.jsonl``).

    ``logs.count("suspect", since=fault.began)`` is how many lines of that pattern there are.
    """

    def __init__(
        self, nodes: Iterable[Node], trial: Trial, patterns: Mapping[str, str] = PATTERNS
    ) -> None:
        logs = {node.name: node.log for node in nodes}
        self._logs = {name: NewLines(path, read_to=_size(path)) for name, path in logs.items()}
        self._trial = trial
        self._patterns = {name: re.compile(words) for name, words in patterns.items()}
        self._stamps = dict.fromkeys(self._logs, 0.0)
        self._lines: list[Line] = []
        self._lock = threading.Lock()

    def lines(
        self,
        *patterns: str,
        node: Node | None = None,
        since: Moment = 0.0,
        until: float | None = None,
    ) -> list[Line]:
        """Return the lines of these patterns, or of all, by time; times are in trial seconds."""
        for name in patterns:
            if name not in self._patterns:
                known = ", ".join(sorted(self._patterns))
                raise UsageError(f"{name!r} is not a known pattern", hint=f"known: {known}")
        self._read()
        began = trial_moment(since)
        return [
            line
            for line in sorted(self._lines, key=lambda line: (line.t, line.node))
            if (not patterns or line.pattern in patterns)
            and (node is None or line.node == node.name)
            and line.t >= began
            and (until is None or line.t < until)
        ]

    def count(
        self,
        *patterns: str,
        node: Node | None = None,
        since: Moment = 0.0,
        until: float | None = None,
    ) -> int:
        """Return how many lines of these patterns there are."""
        return len(self.lines(*patterns, node=node, since=since, until=until))

    def time_to(
        self, pattern: str, *, within: float, since: Moment, node: Node | None = None
    ) -> Elapsed:
        """Measure the time from ``since`` (monotonic) to a line of a pattern, by its stamp."""
        start = self._trial.clock.at(monotonic_moment(since))

        def logged() -> bool | NotYet:
            found = self.lines(pattern, node=node, since=start)
            return bool(found) or NotYet(f"no line of {pattern!r}")

        seen = time_until(logged, state=f"a line of {pattern!r}", within=within, since=since)
        if not seen.reached:
            return seen
        return Elapsed(
            round(self.lines(pattern, node=node, since=start)[0].t - start, 6), reached=True
        )

    def save(self) -> None:
        """Write ``samples/dockerd_logs.jsonl``."""
        self._trial.write_samples("dockerd_logs", self._rows())

    # -- within --------------------------------------------------------------------------------

    def _rows(self) -> Iterator[dict[str, Any]]:
        for line in self.lines():
            yield {"t": line.t, "node": line.node, "pattern": line.pattern, "text": line.text}

    def _read(self) -> None:
        with self._lock:
            offset = to_trial_time(self._trial.clock)
            for name, log in self._logs.items():
                found, self._stamps[name] = lines_in(
                    log.take(), self._patterns, to_trial_time=offset, before=self._stamps[name]
                )
                self._lines += [Line(t, name, pattern, said) for t, pattern, said in found]


def lines_in(
    text: str,
    patterns: Mapping[str, re.Pattern[str]],
    *,
    to_trial_time: float,
    before: float = 0.0,
) -> tuple[list[tuple[float, str, str]], float]:
    """Return (time, pattern, line) of all lines of interest, and the time of the last line.

    ``to_trial_time`` is added to stamps; a line without one has that of the line before it. A
    line that several patterns match is given once for each.
    """
    found = []
    for line in text.splitlines():
        if (stamp := _STAMP.match(line)) is not None:
            before = round(epoch_seconds(stamp["time"]) + to_trial_time, 6)
        found += [(before, name, line) for name, words in patterns.items() if words.search(line)]
    return found, before


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
