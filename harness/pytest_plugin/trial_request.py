"""What is asked for when a scenario runs at one point, known before anything has run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pytest

from harness.lab import Topology
from harness.pytest_plugin.markers import (
    TrialPoint,
    other_engines_of,
    point_of,
    scenario_id,
    serving_of,
    topology_of,
)
from harness.pytest_plugin.options import Options
from harness.trial import EngineFacts, TrialInputs

if TYPE_CHECKING:
    from harness.engine import EngineFacts as Engine
    from harness.faults.topology_file import TopologyFile
    from harness.swarm import Workload


@dataclass(frozen=True)
class TrialRequest:
    """One trial to be run; the same on the host that sends it and in the guest that runs it.

    ``others`` are engines that the scenario installs besides its nodes' own, by name. ``cpus`` and
    ``memory``, in MiB, are a guest's, None unless a number was asked for. ``serving`` is the
    workload that the swarm serves when the scenario begins. ``capture``: whether packets are
    captured, which changes a guest's history. ``file`` is what the topology is from, if it is from
    a file.
    """

    scenario: str
    point: TrialPoint
    topology: Topology
    control: bool = False
    others: tuple[str, ...] = ()
    cpus: int | None = None
    memory: int | None = None
    serving: Workload | None = None
    capture: bool = False
    file: TopologyFile | None = None

    @classmethod
    def of(cls, item: pytest.Item, options: Options) -> TrialRequest:
        """Read it from a scenario's marks and the command line."""
        point = point_of(item)
        return cls(
            scenario=scenario_id(item),
            point=point,
            topology=topology_of(item, options),
            control=item.get_closest_marker("control") is not None,
            others=other_engines_of(item, point.engine) or (),
            cpus=options.cpus,
            memory=options.memory,
            serving=serving_of(item),
            capture=options.capture,
            file=options.topology_file,
        )

    @property
    def options(self) -> dict[str, str]:
        """What the record says of the scenario's choices, and of what was asked for besides."""
        options = {"other_engines": " ".join(self.others)} if self.others else {}
        if self.cpus is not None:
            options["cpus"] = str(self.cpus)
        if self.memory is not None:
            options["memory_mib"] = str(self.memory)
        if self.capture:
            options["capture_packets"] = "yes"
        return options

    def inputs(self, engine: Engine, *, lab: str, kernel: str, clock: str) -> TrialInputs:
        """Make the inputs of the trial's record. ``clock``: ``virtual``, or any other for real."""
        clock_name: Literal["virtual", "real"] = "virtual" if clock == "virtual" else "real"
        return TrialInputs(
            scenario=self.scenario,
            control=self.control,
            engine=EngineFacts(
                name=self.point.engine,
                version=engine.version,
                source=engine.source,
                digest=engine.digest,
            ),
            topology=f"{self.topology}@{self.file.id}" if self.file else str(self.topology),
            lab=lab,
            kernel=kernel,
            clock=clock_name,
            seed=self.point.seed,
            options=self.options,
        )
