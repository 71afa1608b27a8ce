"""What a test asks for: its lab, topology, name, and whether it is a scenario at all."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from harness.engine import KNOWN, release_in, release_key, resolve
from harness.lab import Topology
from harness.pytest_plugin.options import Options

if TYPE_CHECKING:
    from harness.swarm import Workload

#: Seconds on its own clock that a trial may take unless its marker ``deadline`` says otherwise.
DEADLINE = 900.0

#: The keyword of the mark ``swarm`` that is no part of the topology.
SERVING = "serving"

#: The property of a skip's report that names what the kernel lacks.
MISSING = "missing"

#: What only a guest has: a kernel of its own, whose wall clock faults may set.
SETTABLE_CLOCK = "settable_clock"


@dataclass(frozen=True)
class TrialPoint:
    """What a scenario is multiplied by: an engine's name and a seed."""

    engine: str
    seed: int

    def __str__(self) -> str:
        return f"{self.engine}-s{self.seed}"


def is_scenario(item: pytest.Item) -> bool:
    """Return whether a test makes a trial."""
    return "point" in getattr(item, "fixturenames", ())


def point_of(item: pytest.Item) -> TrialPoint:
    """Engine and seed that a scenario was multiplied by."""
    callspec: Any = item.callspec  # type: ignore[attr-defined]
    point: TrialPoint = callspec.params["point"]
    return point


def scenario_id(item: pytest.Item) -> str:
    """Return a scenario's node id without engine and seed: they are inputs of their own."""
    callspec: Any = getattr(item, "callspec", None)
    if callspec is None:
        return item.nodeid
    inner = f"{callspec.params['point']}"
    return re.sub(rf"(\[|-){re.escape(inner)}(\]|-)", _join, item.nodeid).removesuffix("[]")


def _join(match: re.Match[str]) -> str:
    """Return what is left between other parameters when one is cut out of the brackets."""
    return "-" if match.groups() == ("-", "-") else match[1].strip("-") + match[2].strip("-")


def title_of(item: pytest.Item) -> str:
    """Return the first line of the scenario's docstring."""
    doc = getattr(getattr(item, "function", None), "__doc__", None) or ""
    return next((line.strip() for line in doc.splitlines() if line.strip()), "")


def about_of(item: pytest.Item) -> str:
    """Return what the scenario says of itself: its file's docstring, then its own."""
    said = (getattr(item, "module", None), getattr(item, "function", None))
    return "\n\n".join(doc for doc in (inspect.getdoc(part) for part in said if part) if doc)


def topology_of(item: pytest.Item, options: Options) -> Topology:
    """Return the topology asked for on the command line, else by the scenario's marker."""
    mark = item.get_closest_marker("swarm")
    own = topology_in(mark) if mark else Topology()
    return (options.topology or own).with_engines(options.role_engines)


def topology_in(mark: pytest.Mark) -> Topology:
    """Return the topology that a mark ``swarm`` asks for."""
    return Topology(**{name: value for name, value in mark.kwargs.items() if name != SERVING})


def serving_of(item: pytest.Item) -> Workload | None:
    """Return the workload that a scenario's swarm is to serve when it begins, if any."""
    mark = item.get_closest_marker("swarm")
    return mark.kwargs.get(SERVING) if mark else None


def deadline_of(item: pytest.Item) -> float:
    """Return seconds on the trial's clock that a scenario may take."""
    mark = item.get_closest_marker("deadline")
    return float(mark.args[0]) if mark else DEADLINE


def other_engines_of(item: pytest.Item, engine: str) -> tuple[str, ...] | None:
    """Return the engines besides its nodes' own that a scenario installs, as its mark names them.

    ``next`` is the release that comes after ``engine`` in the catalogue; None if there is none.
    """
    mark = item.get_closest_marker("other_engines")
    found: list[str] = []
    for name in mark.args if mark else ():
        following = release_after(engine) if name == "next" else name
        if following is None:
            return None
        resolve(following)
        found.append(following)
    return tuple(found)


def installs_next(item: pytest.Item) -> bool:
    """Return whether a scenario installs the release after its nodes' own."""
    mark = item.get_closest_marker("other_engines")
    return mark is not None and "next" in mark.args


def release_after(engine: str) -> str | None:
    """Return the catalogue's next release after an engine, by name; None after the last.

    None as well for an engine whose release its name does not tell (``dir:PATH``, ``27.*``).
    """
    release = _named_release(engine)
    if release is None:
        return None
    later = [k.version for k in KNOWN if release_key(k.version) > release_key(release)]
    return min(later, key=release_key, default=None)


def upgradable(engine: str) -> str:
    """Return ``engine``, or the catalogue's release before it if none comes after it."""
    release = _named_release(engine)
    if release is None or release_after(engine) is not None:
        return engine
    earlier = [k.version for k in KNOWN if release_key(k.version) < release_key(release)]
    return max(earlier, key=release_key, default=engine)


def _named_release(engine: str) -> str | None:
    named = next((k.version for k in KNOWN if engine in (k.version, *k.aliases)), engine)
    return (
        None if named.startswith(("dir:", "image:")) else release_in(named.removeprefix("archive:"))
    )


def chosen_lab(options: Options) -> str:
    """Return the lab that the options ask for; see :func:`lab_called`."""
    return lab_called(options.lab)


def lab_called(name: str) -> str:
    """Return a lab by its name; ``auto`` means microvm where there is a QEMU to use."""
    if name != "auto":
        return name
    from harness.images import Cache  # a guest is given its lab, and need not import these
    from harness.vm.qemu_binary import qemu_at_hand

    return "microvm" if qemu_at_hand(Cache()) else "namespaces"
