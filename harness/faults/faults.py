"""The fixture ``faults``: every fault there is, in groups.


A group is imported when it is first asked for: a guest is emulated, and imports are slow in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.faults.factory import made_by, require_fit
from harness.faults.fault import Fault
from harness.faults.kill import DockerdKilled, NodeKilled
from harness.lab import Lab
from harness.swarm import Swarm
from harness.trial import Trial

if TYPE_CHECKING:
    from harness.faults.host import HostFaults
    from harness.faults.network import NetworkFaults
    from harness.faults.process import ProcessFaults
    from harness.faults.resource import ResourceFaults
    from harness.faults.schedule import Plan, Schedule, ScheduleRun
    from harness.faults.service import ServiceFaults


class Faults:
    """Makes faults for a trial, and heals what was left active.

    ``lab`` is what faults of the network are done to. ::

        with faults.kill_dockerd(swarm.leader), faults.network.loss(swarm.workers, share=0.1):
            ...
    """

    def __init__(self, trial: Trial, lab: Lab | None = None) -> None:
        self.trial = trial
        self._lab = lab

    @cached_property
    def network(self) -> NetworkFaults:
        """What happens to packets between nodes, and to their networks."""
        from harness.faults.network import NetworkFaults

        return NetworkFaults(self.trial, self._lab)

    @cached_property
    def host(self) -> HostFaults:
        """What a host does around dockerd: restart it, shut down, reboot, lose days of its disk."""
        from harness.faults.host import HostFaults

        return HostFaults(self.trial)

    @cached_property
    def process(self) -> ProcessFaults:
        """What happens to dockerd, to a container's processes, and to whole nodes."""
        from harness.faults.process import ProcessFaults

        return ProcessFaults(self.trial)

    @cached_property
    def resource(self) -> ResourceFaults:
        """What runs short: CPU, memory, disk, descriptors, time."""
        from harness.faults.resource import ResourceFaults

        return ResourceFaults(self.trial)

    @cached_property
    def service(self) -> ServiceFaults:
        """What happens to the services outside: a log collector, a registry, a name server."""
        from harness.faults.service import ServiceFaults

        return ServiceFaults(self.trial)

    kill_dockerd = made_by(DockerdKilled)
    kill_node = made_by(NodeKilled)

    def make(self, name: str, target: object, **parameters: object) -> Fault:
        """Return a fault by its name in the catalogue, such as one of another package.

        ::

            with faults.make("link-mtu-lowered", swarm.leader, mtu=1200):
                ...

        Raises :class:`UsageError` for a name that nobody has, or parameters that it does not have.
        """
        from harness.faults.catalogue import kind_of

        kind: Callable[..., Fault] = kind_of(name)
        require_fit(kind, self.trial, target, **parameters)
        return kind(self.trial, target, **parameters)

    def schedule(
        self,
        plan: Path | Schedule | Plan,
        *,
        on: Swarm,
        services: Mapping[str, object] | None = None,
    ) -> ScheduleRun:
        """Return a schedule to carry out: ``.run()``, or a ``with`` block during which it runs.

        ``plan`` may be a schedule's file; what is random in it follows from the trial's seed.
        ``services`` are the external services that it may name as targets.
        """
        from harness.faults.schedule import Schedule, ScheduleRun, read_schedule
        from harness.faults.targets import Targets

        seed = self.trial.inputs.seed
        if isinstance(plan, Path):
            plan = read_schedule(plan, seed)
        elif isinstance(plan, Schedule):
            plan = plan.plan(seed)
        return ScheduleRun(self.trial, plan, Targets(on.lab, on, services))

    def heal_all(self) -> None:
        """Heal what is still active, last injected first; each error becomes a doubt."""
        self.trial.active_faults.heal_all()
