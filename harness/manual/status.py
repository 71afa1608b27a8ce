"""What there is to say of an open lab: its nodes, who leads, and what is injected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from harness.errors import HarnessError
from harness.lab import NamespacesLab, Node
from harness.manual.injected_store import InjectedStore, Page
from harness.manual.open_lab import BusyError, OpenLab
from harness.swarm import Swarm

#: Seconds to wait for a command that is at work on the lab before its nodes are left alone.
_PATIENCE = 2.0


def status_of(opened: OpenLab) -> dict[str, Any]:
    """A lab as JSON can hold it; ``nodes`` is null while another command is at work on it."""
    facts: dict[str, Any] = {"lab": opened.name, "folder": str(opened.folder)}
    try:
        with opened.entered(_PATIENCE) as lab:
            facts["topology"] = str(lab.topology)
            facts["nodes"] = {name: _node(node) for name, node in lab.nodes.items()}
            facts["leader"] = _leader(lab) if _anybody_answers(facts["nodes"]) else None
    except BusyError:
        facts |= {"topology": None, "nodes": None, "leader": None}
    facts["injected"] = [_page(page) for page in InjectedStore(opened.folder).pages()]
    return facts


def lines(facts: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    yield f"lab {facts['lab']} in {facts['folder']}"
    if facts["nodes"] is None:
        yield "  another command is at work on it; its nodes were not asked"
    else:
        leader = facts["leader"]
        yield f"  {f'{leader} leads' if leader else 'nobody is known to lead'}"
        for name, node in facts["nodes"].items():
            yield f"  {name:4} {node['address']:12} engine {node['engine']:10} {_words(node)}"
    if not facts["injected"]:
        yield "  nothing is injected"
    for page in facts["injected"]:
        given = "".join(f" {name}={value}" for name, value in page["parameters"].items())
        yield f"  injected: {page['id']} on {page['target']}{given}, {page['seconds']:.0f} s ago"
        if page["trouble"]:
            yield f"    could not be healed: {page['trouble']}"
        elif page["evidence"]:
            yield f"    {page['evidence']}"
        else:
            yield "    not proven: whoever injected it has ended in the middle of it"
        if page["kept_up_by"]:
            yield f"    for as long as process {page['kept_up_by']} lives"


def _node(node: Node) -> dict[str, Any]:
    running = node.up and node.dockerd.alive
    return {
        "address": node.address,
        "engine": node.engine.version,
        "up": node.up,
        "dockerd": running,
        "answers": running and node.dockerd.ping(timeout=1.0),
    }


def _words(node: dict[str, Any]) -> str:
    if not node["up"]:
        return "switched off"
    if not node["dockerd"]:
        return "dockerd does not run"
    return "answers" if node["answers"] else "dockerd does not answer"


def _anybody_answers(nodes: dict[str, Any]) -> bool:
    return any(node["answers"] for node in nodes.values())


def _leader(lab: NamespacesLab) -> str | None:
    with suppress(HarnessError):
        return Swarm(lab).leader.name
    return None


def _page(page: Page) -> dict[str, Any]:
    return {
        "id": page.id,
        "fault": page.fault,
        "target": page.target,
        "parameters": page.parameters,
        "seconds": round(page.seconds, 1),
        "evidence": page.evidence,
        "trouble": page.trouble,
        "kept_up_by": page.maker if page.kept_up else None,
    }
