"""Gossip in dockerd's log: who declared whom failed, and who came back. Only text is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.probes.sampling.timestamps import epoch_seconds

Kind = Literal["suspect", "failed", "left", "joined", "refuted"]

#: A line of dockerd's log that tells a change; for :func:`changes_of`.
LINE = re.compile(
    r'^time="(?P<time>[^"]+)".*?msg="(?:'
    r"memberlist: Suspect (?P<suspect>\S+) has failed"
    r"|memberlist: (?P<refuted>Refuting) a suspect message"
    r"|Node (?P<failed>\S+) change state NodeActive --> NodeFailed"
    r"|Node (?P<left>\S+) change state \w+ --> NodeLeft"
    r"|Node (?P<joined>[^/\s]+)/(?P<address>[0-9.]+), joined gossip cluster"
    r"|New memberlist node - Node:\S+ will use memberlist nodeID:(?P<own>\w+)"
    r")",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Change:
    """What one dockerd knew about another from ``t`` (trial seconds) on.

    ``suspect``: no acknowledgement came in. ``failed``: declared failed; its tasks' names and
    addresses are withdrawn. ``left``: it is gone for good, or under another id. ``joined``: it is a
    member (again). ``refuted``: it heard that others suspect it, and said that it lives.
    """

    t: float
    by: str
    about: str
    kind: Kind


def changes_of(
    logs: Sequence[tuple[str, Sequence[re.Match[str]]]],
    names: Mapping[str, str],
    *,
    to_trial_time: float,
) -> list[Change]:
    """Return the changes in dockerd logs, given as (node name, matches of ``LINE``), by time.

    ``names``: address -> node name. ``to_trial_time`` is added to a line's UTC stamp in seconds.
    Gossip knows nodes by ids that are new after each start; an unknown id is kept as it is.
    """
    owners: dict[str, str] = {}
    for node, matches in logs:
        for match in matches:
            if own := match["own"]:
                owners[own] = node
            elif joined := match["joined"]:
                owners.setdefault(joined, names.get(match["address"], joined))
    found = []
    for node, matches in logs:
        for match in matches:
            kind, about = _kind_and_id(match)
            if kind is None:
                continue
            t = round(epoch_seconds(match["time"]) + to_trial_time, 6)
            whom = node if kind == "refuted" else owners.get(about, about)
            if whom != node or kind == "refuted":
                found.append(Change(t, node, whom, kind))
    return sorted(found, key=lambda change: (change.t, change.by))


def _kind_and_id(match: re.Match[str]) -> tuple[Kind | None, str]:
    kinds: tuple[Kind, ...] = ("suspect", "failed", "left", "joined", "refuted")
    for kind in kinds:
        if match[kind]:
            return kind, match[kind]
    return None, ""
