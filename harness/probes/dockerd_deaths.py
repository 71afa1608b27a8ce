"""Whether every dockerd lived through the trial: held against every trial at its end.

No spec, no packet and no outage of others may end a daemon. What may: the harness itself
(:class:`~harness.lab.dockerd_ends.DockerdEnds`), and faults that take from a node what no program
can do without (``Fault.may_end_dockerd``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from harness.lab import Node
from harness.lab.dockerd import last_words, panics_in
from harness.trial import Trial
from harness.trial.oracles import DIED, PANICKED

#: Lines of a log's end that go into a note.
_LAST_LINES = 3


class DockerdDeaths:
    """Made when the nodes are up, asked once when the trial is over. Nothing watches in between."""

    def __init__(self, nodes: Iterable[Node], trial: Trial) -> None:
        self._trial = trial
        self._nodes = {node: _size(_log(node)) for node in nodes}
        self._before = {node: len(node.dockerd_ends.unasked) for node in self._nodes}
        for node in self._nodes:
            if _runs(node):  # in a thawed lab it was started by another process
                node.dockerd_ends.started()

    def look(self) -> None:
        """Find out who does not run although nobody has ended it."""
        for node in self._nodes:
            if not _runs(node):
                node.dockerd_ends.found_dead()

    def record(self, *, off: Collection[str] = ()) -> None:
        """Record how many died unasked, and how many lines say that one panicked.

        But for the oracles that are ``off``, by name.
        """
        self.look()
        spared = self._trial.active_faults.endangered
        watched = {node: since for node, since in self._nodes.items() if node.name not in spared}
        panics = {node: panics_in(_log(node), since) for node, since in watched.items()}
        died = [node for node in watched for _ in node.dockerd_ends.unasked[self._before[node] :]]
        notes = [f"{node.name}: {_said(node, watched[node])}" for node in dict.fromkeys(died)]
        if DIED.name not in off:
            self._trial.measures(DIED, len(died), note="; ".join(notes))
        lines = [f"{node.name}: {line}" for node, found in panics.items() for line in found]
        if PANICKED.name not in off:
            self._trial.measures(PANICKED, len(lines), note=lines[0] if lines else "")


def _said(node: Node, since: int) -> str:
    return last_words(_log(node), since, lines=_LAST_LINES).replace("\n  ", " / ")


def _runs(node: Node) -> bool:
    return node.up and node.dockerd.alive


def _log(node: Node) -> Path:
    return node.log


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
