"""On which members a global service has a task: those that are active and meet its constraints.

swarmkit's rules (constraint/constraint.go, NodeMatches): a key is compared without regard to case,
a label that a node does not have is "", and a key that swarm does not know matches no node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from harness.errors import UsageError

_CONSTRAINT = re.compile(r"\s*([^=!\s]+)\s*(==|!=)\s*(.*?)\s*")


def may_have_task(node: Mapping[str, Any], constraints: Iterable[str]) -> bool:
    """Return whether a global service with these constraints has a task on a node.

    ``node`` is an element of ``GET /nodes``: ``node.hostname==w1`` allows the node called w1.
    Raise :class:`UsageError` for what is not a constraint.
    """
    active = node["Spec"].get("Availability", "active") == "active"
    return active and all(_meets(node, constraint) for constraint in constraints)


def _meets(node: Mapping[str, Any], constraint: str) -> bool:
    match = _CONSTRAINT.fullmatch(constraint)
    if match is None:
        raise UsageError(f"{constraint!r} is not a placement constraint: give KEY==VALUE or !=")
    key, operator, wanted = match.groups()
    if key.lower() == "node.ip":
        return _in_subnet(node, wanted) == (operator == "==")
    value = _value(node, key)
    return value is not None and (value.lower() == wanted.lower()) == (operator == "==")


def _value(node: Mapping[str, Any], key: str) -> str | None:
    described = node.get("Description") or {}
    platform = described.get("Platform") or {}
    values = {
        "node.id": node.get("ID"),
        "node.hostname": described.get("Hostname"),
        "node.role": node["Spec"].get("Role"),
        "node.platform.os": platform.get("OS"),
        "node.platform.arch": platform.get("Architecture"),
    }
    if key.lower() in values:
        return values[key.lower()] or ""
    for prefix, labels in (
        ("node.labels.", node["Spec"].get("Labels")),
        ("engine.labels.", (described.get("Engine") or {}).get("Labels")),
    ):
        if key.lower().startswith(prefix):
            return str((labels or {}).get(key[len(prefix) :], ""))
    return None


def _in_subnet(node: Mapping[str, Any], wanted: str) -> bool:
    try:
        return ip_address(node["Status"].get("Addr", "")) in ip_network(wanted, strict=False)
    except ValueError:
        return False
