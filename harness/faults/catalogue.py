"""The catalogue: every kind of fault, by name, and made from text.

A fault is in it by existing: each class below ``harness.faults`` that can be injected. Those of
other packages (:mod:`harness.faults.extensions`) are found by the same names. The command line,
schedule files and the reference page all read it here.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.faults.extensions import FAULTS, extensions, fault_named
from harness.faults.fault import Fault
from harness.faults.links import Links
from harness.faults.parameter import explained, parameters_of
from harness.faults.planes import PLANES
from harness.swarm import Swarm
from harness.trial import Trial

#: The group of faults that are in no package of their own.
_NODE = "node"


@cache
def catalogue() -> Mapping[str, type[Fault]]:
    """Return every kind of fault of the harness by its name, by groups and names."""
    found: dict[str, type[Fault]] = {}
    for module in pkgutil.walk_packages([str(Path(__file__).parent)], f"{__package__}."):
        for kind in vars(importlib.import_module(module.name)).values():
            if not _is_kind(kind) or kind.__module__ != module.name:
                continue
            if kind.name in found:
                raise TypeError(f"{kind} and {found[kind.name]} are both named {kind.name}")
            found[kind.name] = kind
    return dict(sorted(found.items(), key=lambda item: (group_of(item[1]), item[0])))


def _is_kind(thing: object) -> bool:
    return (
        isinstance(thing, type)
        and issubclass(thing, Fault)
        and not inspect.isabstract(thing)
        and bool(vars(thing).get("name"))
    )


def group_of(kind: type[Fault]) -> str:
    """Return the group a kind of fault belongs to: ``network``, ``process``, another's package."""
    package, _, inner = kind.__module__.partition("harness.faults.")
    if package:
        return package.partition(".")[0]
    return inner.partition(".")[0] if "." in inner else _NODE


def kind_of(name: str) -> type[Fault]:
    """Return a kind of fault by its name; :class:`UsageError` with the nearest ones.

    Another package's cannot take the place of one of the harness's own.
    """
    kinds = catalogue()
    if name in kinds:
        return kinds[name]
    if (kind := fault_named(name)) is not None:
        return kind
    others = [entry.name for entry in extensions(FAULTS)]
    near = difflib.get_close_matches(name, [*kinds, *others], n=3)
    raise UsageError(
        f"there is no fault {name!r}",
        hint=f"did you mean {' or '.join(near)}?" if near else "`swarm-chaos faults` lists them",
    )


def read_parameters(kind: type[Fault], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the keywords of a kind of fault from what people wrote, defaults filled in.

    Raises :class:`UsageError` for a parameter it does not have, one that is required and missing,
    and a value that is not valid.
    """
    known = {parameter.name: parameter for parameter in parameters_of(kind)}
    if strange := sorted(texts.keys() - known.keys()):
        there = ", ".join(known) or "none"
        raise UsageError(
            f"the fault {kind.name} has no parameter {', '.join(strange)}",
            hint=f"it has: {there}",
        )
    values = {}
    for name, parameter in known.items():
        text = texts.get(name, parameter.default)
        if text is None:
            raise UsageError(
                f"the fault {kind.name} needs {name}: {parameter.help}",
                hint=f"write {name}=...",
            )
        values[name] = explained(f"{kind.name}: {name}", parameter.type.read, text)
    return values


def make(trial: Trial, name: str, target: object, texts: Mapping[str, str]) -> Fault:
    """Return a fault on a target, not yet injected; :class:`UsageError` for what is not valid."""
    kind = kind_of(name)
    made: Fault = kind(trial, target, **read_parameters(kind, texts))  # type: ignore[call-arg]
    made.made_from = (target_text(target), dict(texts))
    return made


def target_text(target: object) -> str:
    """Return a target as text that finds it again, even when another manager leads."""
    if isinstance(target, Links):
        return str(target)
    if isinstance(target, Swarm):
        return "swarm"
    name: str = getattr(target, "name", "")
    return name


def facts_of(kind: type[Fault]) -> dict[str, Any]:
    """Return all there is to say about a kind of fault, as JSON can hold it."""
    parameters = parameters_of(kind)
    return {
        "name": kind.name,
        "group": group_of(kind),
        "summary": kind.summary,
        "acts_on": kind.acts_on,
        "parameters": [
            {
                "name": parameter.name,
                "unit": parameter.type.unit,
                "default": parameter.default,
                "help": parameter.help,
            }
            for parameter in parameters
        ],
        "planes": list(PLANES) if any(p.name == "plane" for p in parameters) else [],
        "needs": list(kind.needs),
        "evidence": kind.proof,
        "excludes": list(kind.excludes) or [kind.name],
        "by_hand": not kind.ends_with_process,
    }
