"""What a topology's file says besides nodes and engines, brought about on a formed swarm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, MissingError, UsageError
from harness.faults.catalogue import kind_of, make
from harness.faults.fault import Fault
from harness.faults.node_fault import NodeFault
from harness.faults.targets import Targets
from harness.faults.topology_file import Standing, TopologyFile
from harness.lab import probe_features
from harness.swarm import Swarm
from harness.trial import Trial

#: Their machines are reached by commands: nothing enters a node's cgroups, and no queue is there.
_REMOTE = ("ssh", "vagrant")

_CONTROLLERS = {"memory-limited": "memory", "cpu-limited": "cpu"}


def require_possible(file: TopologyFile, lab: str) -> None:
    """Raise a :class:`HarnessError` for what a lab on this kernel cannot do, before it is made."""
    for each in file.standing:
        about = f"the topology {file.name} has {each.fault} on {each.target}"
        by_rules = each.fault == "network-loss"
        if lab in _REMOTE and not by_rules:
            raise UsageError(
                f"{about}, and the lab {lab} can set labels and losses only",
                hint="leave limits and delays away there, or take --lab microvm",
            )
        if missing := _missing(each):
            raise MissingError(
                f"{about}, which needs {missing}, and this kernel does not have it",
                hint="use the microvm lab (--lab microvm), whose kernel has it",
            )


def set_labels(file: TopologyFile, swarm: Swarm) -> None:
    """Give the swarm's members the labels that the file has for them."""
    for node, labels in file.labels.items():
        swarm.set_labels(swarm.lab.node(node), labels)


def hold(file: TopologyFile, swarm: Swarm, trial: Trial) -> None:
    """Inject the file's limits and links; they hold until the trial's faults are healed.

    A node that was off comes back without its limits, so they are set again when a fault has
    been healed.
    """
    targets = Targets(swarm.lab, swarm)
    limits: list[NodeFault] = []
    for each in file.standing:
        for target in targets.find(kind_of(each.fault), each.target):
            fault: Fault = make(trial, each.fault, target, dict(each.parameters))
            fault.inject()
            if isinstance(fault, NodeFault):
                limits.append(fault)
    if limits:
        trial.journal.listen(lambda entry: _limit_again(limits, entry, trial))


def _limit_again(limits: list[NodeFault], entry: Mapping[str, Any], trial: Trial) -> None:
    if entry["kind"] != "fault.healed":
        return
    for fault in limits:
        if fault.active and fault.node.up:
            try:
                fault.apply()
                fault.evidence()
            except HarnessError as error:
                trial.doubt(f"{fault.id} could not be set again: {error.what}")


def _missing(standing: Standing) -> str | None:
    """Return what this kernel lacks for it, None if it has all."""
    if standing.fault in _CONTROLLERS:
        name = _CONTROLLERS[standing.fault]
        return None if name in _controllers() else f"the cgroup controller {name}"
    features = probe_features()
    needed = kind_of(standing.fault).needs
    return next((name for name in needed if not features.has(name)), None)


def _controllers() -> set[str]:
    """Return this kernel's cgroup controllers, of either version."""
    found: set[str] = set()
    for path in (Path("/sys/fs/cgroup/cgroup.controllers"), Path("/proc/cgroups")):
        if path.is_file():
            words = [line.split() for line in path.read_text().splitlines()]
            found |= set(words[0]) if path.name == "cgroup.controllers" and words else set()
            found |= {w[0] for w in words if path.name == "cgroups" and w[-1] == "1"}
    return found
