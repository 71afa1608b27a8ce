"""The catalogue: every kind of fault there is, by name, and made from words.

A fault is in it by being there: each class below ``harness.faults`` that can be injected. The
command line, schedule files and the reference page all read it here.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

import harness.faults
from harness.errors import UsageError
from harness.faults.fault import Fault
from harness.faults.links import Links
from harness.faults.planes import PLANES
from harness.swarm import Swarm
from harness.trial import Trial

#: The group of faults that are in no package of their own.
_NODE = "node"


@cache
def catalogue() -> Mapping[str, type[Fault]]:
    """Every kind of fault by its name, in the order of groups and names."""
    found: dict[str, type[Fault]] = {}
    for module in pkgutil.walk_packages(harness.faults.__path__, "harness.faults."):
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
    """The group a kind of fault belongs to: ``network``, ``process``, ..."""
    inner = kind.__module__.removeprefix("harness.faults.").split(".")
    return inner[0] if len(inner) > 1 else _NODE


def kind_of(name: str) -> type[Fault]:
    """A kind of fault by its name; :class:`UsageError` with the nearest ones."""
    kinds = catalogue()
    if name in kinds:
        return kinds[name]
    near = difflib.get_close_matches(name, kinds, n=3)
    raise UsageError(
        f"there is no fault {name!r}",
        hint=f"did you mean {' or '.join(near)}?" if near else "`swarm-chaos faults` lists them",
    )


def read_parameters(kind: type[Fault], words: Mapping[str, str]) -> dict[str, Any]:
    """The keywords of a kind of fault from people's words, defaults filled in.

    Raises :class:`UsageError` for a parameter it does not have, one that must be given and is
    not, and a value that cannot be.
    """
    known = {parameter.name: parameter for parameter in kind.parameters}
    if strange := sorted(words.keys() - known.keys()):
        there = ", ".join(known) or "none"
        raise UsageError(
            f"the fault {kind.name} has no parameter {', '.join(strange)}",
            hint=f"it has: {there}",
        )
    read = {}
    for name, parameter in known.items():
        word = words.get(name, parameter.default)
        if word is None:
            raise UsageError(
                f"the fault {kind.name} needs {name}: {parameter.help}",
                hint=f"write {name}=...",
            )
        try:
            read[name] = parameter.read(word)
        except UsageError as error:
            raise UsageError(f"{kind.name}: {name}: {error.what}", hint=error.hint) from None
    return read


def make(trial: Trial, name: str, target: object, words: Mapping[str, str]) -> Fault:
    """A fault on a target, not yet injected. :class:`UsageError` when words are off."""
    kind = kind_of(name)
    made: Fault = kind(trial, target, **read_parameters(kind, words))  # type: ignore[call-arg]
    made.words = (words_of(target), dict(words))
    return made


def words_of(target: object) -> str:
    """A target in words that find it again, whoever leads by then."""
    if isinstance(target, Links):
        return str(target)
    if isinstance(target, Swarm):
        return "swarm"
    name: str = getattr(target, "name", "")
    return name


def facts_of(kind: type[Fault]) -> dict[str, Any]:
    """All that there is to say of a kind of fault, as JSON can hold it."""
    return {
        "name": kind.name,
        "group": group_of(kind),
        "summary": kind.summary,
        "acts_on": kind.acts_on,
        "parameters": [
            {
                "name": parameter.name,
                "unit": parameter.unit,
                "default": parameter.default,
                "help": parameter.help,
            }
            for parameter in kind.parameters
        ],
        "planes": list(PLANES) if any(p.name == "plane" for p in kind.parameters) else [],
        "needs": list(kind.needs),
        "evidence": kind.proof,
        "excludes": list(kind.excludes) or [kind.name],
        "by_hand": not kind.lives_here,
    }
