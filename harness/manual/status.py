"""The state of an open lab: its nodes, its leader, and what is injected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from harness.errors import HarnessError
from harness.files import human_age
from harness.lab import Lab, Node
from harness.manual.injected_store import InjectedFault, InjectedStore
from harness.manual.open_lab import BusyError, OpenLab
from harness.swarm import Swarm

#: Seconds to wait for another command to finish with the lab; after that its nodes are not asked.
_PATIENCE = 2.0


def status_of(opened: OpenLab) -> dict[str, Any]:
    """Return a lab's state for JSON; ``nodes`` is None while another command is using the lab."""
    facts: dict[str, Any] = {"lab": opened.name, "folder": str(opened.folder)}
    try:
        with opened.entered(_PATIENCE) as lab:
            facts["topology"] = str(lab.topology)
            facts["nodes"] = {name: _node(node) for name, node in lab.nodes.items()}
            facts["leader"] = _leader(lab) if _any_answers(facts["nodes"]) else None
    except BusyError:
        facts |= {"topology": None, "nodes": None, "leader": None}
    facts["injected"] = [_injected(each) for each in InjectedStore(opened.folder).all()]
    return facts


def condition_of(node: dict[str, Any]) -> str:
    """Say in a few words in what condition a node of :func:`status_of` is."""
    if not node["up"]:
        return "switched off"
    if not node["dockerd"]:
        return "dockerd is not running"
    return "answers" if node["answers"] else "dockerd does not answer"


def describe_fault(injected: dict[str, Any]) -> Iterator[str]:
    """Describe an injected fault of :func:`status_of` in lines of text."""
    given = "".join(f" {name}={value}" for name, value in injected["parameters"].items())
    age = human_age(injected["seconds"])
    yield f"injected: {injected['id']} on {injected['target']}{given}, {age} ago"
    if injected["trouble"]:
        yield f"  could not be healed: {injected['trouble']}"
    elif injected["evidence"]:
        yield f"  {injected['evidence']}"
    else:
        yield "  not proven: the process that injected it ended before it could prove it"
    if injected["kept_up_by"]:
        yield f"  lasts as long as process {injected['kept_up_by']} lives"


def _node(node: Node) -> dict[str, Any]:
    running = node.up and node.dockerd.alive
    return {
        "address": node.address,
        "engine": node.engine.version,
        "up": node.up,
        "dockerd": running,
        "answers": running and node.dockerd.ping(timeout=1.0),
    }


def _any_answers(nodes: dict[str, Any]) -> bool:
    return any(node["answers"] for node in nodes.values())


def _leader(lab: Lab) -> str | None:
    with suppress(HarnessError):
        return Swarm(lab).leader.name
    return None


def _injected(injected: InjectedFault) -> dict[str, Any]:
    return {
        "id": injected.id,
        "fault": injected.fault,
        "target": injected.target,
        "parameters": injected.parameters,
        "seconds": round(injected.seconds, 1),
        "evidence": injected.evidence,
        "trouble": injected.trouble,
        "kept_up_by": injected.kept_up_by if injected.kept_up else None,
    }
