"""Faults and fixtures of other packages, by their entry points.

A package names its faults in the group ``swarm_chaos.faults``, each under the fault's own name, and
modules with fixtures of pytest (probes, loads) in the group ``swarm_chaos.fixtures``::

    [project.entry-points."swarm_chaos.faults"]
    link-mtu-lowered = "chaos_mtu.faults:LinkMtuLowered"

    [project.entry-points."swarm_chaos.fixtures"]
    chaos_mtu = "chaos_mtu.fixtures"

Nothing of them is imported before it is asked for, so that one that is broken breaks no other.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from harness.errors import UsageError
from harness.faults.fault import Fault

FAULTS = "swarm_chaos.faults"
FIXTURES = "swarm_chaos.fixtures"

_SAID = ("name", "summary", "proof")


def extensions(group: str) -> Iterator[EntryPoint]:
    """Yield the entry points of a group, by name and then by distribution."""
    found = entry_points(group=group)
    yield from sorted(found, key=lambda entry: (entry.name, distribution_of(entry)))


def distribution_of(entry: EntryPoint) -> str:
    """Return the name and the version of the distribution that an entry point is from."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"


def fault_named(name: str) -> type[Fault] | None:
    """Return the fault that another package has under a name; None if there is none.

    Raises :class:`UsageError` if two packages have one, or it is not what a fault has to be.
    """
    entries = [entry for entry in extensions(FAULTS) if entry.name == name]
    if len(entries) > 1:
        both = " and ".join(map(distribution_of, entries))
        raise UsageError(f"there are two faults {name!r}, of {both}", hint="uninstall one of them")
    return fault_of(entries[0]) if entries else None


def fault_of(entry: EntryPoint) -> type[Fault]:
    """Return the class of a fault; :class:`UsageError` names the distribution if it is not one."""
    kind = _loaded(entry, "fault")
    if not isinstance(kind, type) or not issubclass(kind, Fault):
        raise _refusal(entry, "fault", f"{entry.value} is not a subclass of harness.faults.Fault")
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise _refusal(entry, "fault", f"{entry.value} does not define {missing}")
    if silent := [each for each in _SAID if not getattr(kind, each, "")]:
        raise _refusal(entry, "fault", f"{entry.value} has no {' and no '.join(silent)}")
    if kind.name != entry.name:
        raise _refusal(entry, "fault", f"{entry.value} calls itself {kind.name!r}")
    return kind


def fixtures_of(entry: EntryPoint) -> ModuleType:
    """Return a module with fixtures; :class:`UsageError` names the distribution if it is none."""
    module = _loaded(entry, "fixtures module")
    if not isinstance(module, ModuleType):
        raise _refusal(entry, "fixtures module", f"{entry.value} is not a module")
    return module


def _loaded(entry: EntryPoint, what: str) -> object:
    try:
        return entry.load()
    except Exception as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise _refusal(entry, what, said) from error


def _refusal(entry: EntryPoint, what: str, why: str) -> UsageError:
    name = f" {entry.dist.name}" if entry.dist else ""
    return UsageError(
        f"the {what} {entry.name!r} of {distribution_of(entry)} cannot be used: {why}",
        hint=f"mend that package, or uninstall it (pip uninstall{name}); a guest has "
        "nothing for it but itself and what swarm-chaos needs",
    )
