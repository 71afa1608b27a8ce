"""The fixture ``faults``: every fault there is, in groups.

What is injected is in the trial's ledger, however it was made, and is healed at the trial's end.
A group is imported when it is first asked for: a guest is emulated, and imports are slow in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.faults.kill import DockerdKilled, NodeKilled
from harness.lab import NamespacesLab, Node
from harness.swarm import Swarm
from harness.trial import Trial

if TYPE_CHECKING:
    from harness.faults.network import NetworkFaults
    from harness.faults.process import ProcessFaults
    from harness.faults.resource import ResourceFaults
    from harness.faults.schedule import Plan, Schedule, ScheduleRun
    from harness.faults.service import ServiceFaults


class Faults:
    """Makes faults on record in a trial, and heals what was left active.

    ``lab`` is what faults of the network are done to.
    """

    def __init__(self, trial: Trial, lab: NamespacesLab | None = None) -> None:
        self._trial = trial
        self._lab = lab

    @cached_property
    def network(self) -> NetworkFaults:
        """What happens to packets between nodes, and to their networks."""
        from harness.faults.network import NetworkFaults

        return NetworkFaults(self._trial, self._lab)

    @cached_property
    def process(self) -> ProcessFaults:
        """What happens to dockerd, to a container's processes, and to whole nodes."""
        from harness.faults.process import ProcessFaults

        return ProcessFaults(self._trial)

    @cached_property
    def resource(self) -> ResourceFaults:
        """What runs short: CPU, memory, disk, descriptors, time."""
        from harness.faults.resource import ResourceFaults

        return ResourceFaults(self._trial)

    @cached_property
    def service(self) -> ServiceFaults:
        """What happens to the services outside: a log collector, a registry, a name server."""
        from harness.faults.service import ServiceFaults

        return ServiceFaults(self._trial)

    def kill_dockerd(self, node: Node) -> DockerdKilled:
        """dockerd of a node dies by SIGKILL for as long as the ``with`` block lasts."""
        return DockerdKilled(self._trial, node)

    def kill_node(self, node: Node) -> NodeKilled:
        """A whole node dies by SIGKILL for as long as the ``with`` block lasts."""
        return NodeKilled(self._trial, node)

    def schedule(
        self,
        plan: Path | Schedule | Plan,
        *,
        on: Swarm,
        services: Mapping[str, object] | None = None,
    ) -> ScheduleRun:
        """A schedule to be carried out: ``.run()``, or a ``with`` block beside which it runs.

        ``plan`` may be a file of one; what is random in it is drawn from the trial's seed.
        ``services`` are the outside services that it may name as targets.
        """
        from harness.faults.schedule import Schedule, ScheduleRun, read_schedule
        from harness.faults.targets import Targets

        seed = self._trial.inputs.seed
        if isinstance(plan, Path):
            plan = read_schedule(plan, seed)
        elif isinstance(plan, Schedule):
            plan = plan.plan(seed)
        return ScheduleRun(self._trial, plan, Targets(on.lab, on, services))

    def heal_all(self) -> None:
        """Heal what is still active, last injected first; each error becomes a doubt."""
        self._trial.active_faults.heal_all()
