"""nftables for link faults: the script of one fault's own table, as text.

Each fault has a table of its own in the bridge family, so it comes and goes in one transaction
and cannot touch another's. Ports are matched by name, not by index: a node that is switched off
and on again comes back under its rules.

::

    forward   by source and destination port     goto plane
    plane     by protocol and port                goto effect
    effect    counter seen, then what the fault does, with counter hit

``goto`` and not ``jump``: a packet meets the effect at most once, however often it matches
(a gossip packet has port 7946 on both sides), or a loss of 10 % would be one of 19 %.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.errors import UsageError
from harness.faults.links import DirectedLinks
from harness.faults.planes import Plane

PREFIX = "swarm_chaos_"
"""How the names of the harness's tables begin."""

SEEN = "seen"
HIT = "hit"

#: Before whatever a lab's own rules may become.
_PRIORITY = -300

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")  # what the kernel takes for an interface's name

DROP = f"counter name {HIT} drop"


def table_of(slot: int) -> str:
    """Return the name of the table in a slot (from 1 on)."""
    return f"{PREFIX}{slot}"


def script(table: str, links: Iterable[DirectedLinks], plane: Plane, effect: Iterable[str]) -> str:
    """Return the script that creates the table; it fails when there is one of this name already.

    ``effect`` are the statements, a rule each, that a packet on these links and plane meets.
    """
    body = [
        f"create table bridge {table}",
        f"add counter bridge {table} {SEEN}",
        f"add counter bridge {table} {HIT}",
        f"add chain bridge {table} effect",
        f"add rule bridge {table} effect counter name {SEEN}",
        *(f"add rule bridge {table} effect {rule}" for rule in effect),
        f"add chain bridge {table} plane",
        *(f"add rule bridge {table} plane {match} goto effect" for match in matches(plane)),
        f"add chain bridge {table} forward "
        f"{{ type filter hook forward priority {_PRIORITY}; policy accept; }}",
        *(f"add rule bridge {table} forward {ports_match(each)} goto plane" for each in links),
    ]
    return "\n".join(body) + "\n"


def removal(table: str) -> str:
    """Return the script that removes a table, whether it exists or not."""
    return f"add table bridge {table}\ndelete table bridge {table}\n"


def ports_match(links: DirectedLinks) -> str:
    """Return the match of links: by the ports of the bridge a frame comes from and goes to."""
    sources, destinations = links.sources, links.destinations
    if not sources:
        return f"iifname != {_names(destinations)} oifname {_names(destinations)}"
    if not destinations:
        return f"iifname {_names(sources)} oifname != {_names(sources)}"
    return f"iifname {_names(sources)} oifname {_names(destinations)}"


def matches(plane: Plane) -> list[str]:
    """Return the matches of a plane: a packet belongs to it if one of them holds."""
    if not plane.ports:
        return [""] if plane.family == "any" else ["meta protocol { ip, ip6 }"]
    return [
        f"meta l4proto {ports.protocol} {ports.protocol} {side} {_set(map(str, ports.numbers))}"
        for ports in plane.ports
        for side in ("dport", "sport")
    ]


def losing(share: float) -> list[str]:
    """Return statements that drop each packet with a probability (above 0), to 1 in 2^24."""
    parts = 1 << 24
    if (number := max(1, round(share * parts))) == parts:
        return [DROP]
    return [f"numgen random mod {parts} < {number} {DROP}"]


def longer_than(size: int) -> list[str]:
    """Return statements that silently drop IP packets of more than ``size`` bytes."""
    return [f"meta protocol {{ ip, ip6 }} meta length > {size} {DROP}"]


def _names(names: frozenset[str]) -> str:
    for name in names:
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is not a valid name of a place on the fabric")
    return _set(f'"{name}"' for name in sorted(names))


def _set(members: Iterable[str]) -> str:
    return f"{{ {', '.join(members)} }}"
