"""Where a trial's lab and swarm come from: brought up for it, or thawed with the guest it is in."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.engine import EngineFacts
from harness.guest.contract import WARM_VARIABLE
from harness.lab import Lab, NamespacesLab
from harness.pytest_plugin.trial_request import TrialRequest
from harness.swarm import Swarm, Workload
from harness.trial import Trial

if TYPE_CHECKING:
    from harness.swarm.lab_makers import LabMaker


class LabSource(Protocol):
    """Gives one trial its lab."""

    def engine(self) -> EngineFacts:
        """Return the engine of its nodes; called first, for its version belongs to the inputs."""
        ...

    def open(self, stack: ExitStack) -> Lab:
        """Return the lab, its nodes up; ``stack`` lets go of it."""
        ...

    def swarm(self, lab: Lab, trial: Trial) -> Swarm:
        """Return the swarm on the lab's nodes, formed and ready."""
        ...

    def serve(self, swarm: Swarm, workload: Workload) -> None:
        """Have the swarm serve a workload before the scenario begins."""
        ...


class FreshLab:
    """A lab that is built for one trial, on this kernel."""

    def __init__(self, request: TrialRequest, maker: LabMaker) -> None:
        self._request = request
        self._maker = maker

    def engine(self) -> EngineFacts:
        """Provide the engine."""
        return self._maker.engine(self._request.point.engine)

    def open(self, stack: ExitStack) -> Lab:
        """Bring up the nodes."""
        lab = self._maker.make(self._request.topology, self._request.point.engine)
        stack.callback(lab.close)
        return lab

    def swarm(self, lab: Lab, trial: Trial) -> Swarm:
        """Form the swarm."""
        return Swarm.form(lab, journal=trial.journal, seed=trial.inputs.seed)

    def serve(self, swarm: Swarm, workload: Workload) -> None:
        """Deploy it."""
        swarm.serve(workload, deployed=False)


class ThawedLab:
    """The lab that this guest was frozen with, in the folder ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._lab = NamespacesLab.attach(folder.resolve())
        self._warm = os.environ.get(WARM_VARIABLE) == "1"

    def engine(self) -> EngineFacts:
        """Read the engine that the nodes have."""
        return next(iter(self._lab.nodes.values())).engine

    def open(self, stack: ExitStack) -> Lab:
        """Return the lab as it was thawed."""
        stack.callback(self._lab.release)
        return self._lab

    def swarm(self, lab: Lab, trial: Trial) -> Swarm:
        """Return the swarm that was frozen, with what is random in it reseeded."""
        swarm = Swarm(lab, journal=trial.journal, seed=trial.inputs.seed)
        if not self._warm:
            swarm.reseed()
        return swarm

    def serve(self, swarm: Swarm, workload: Workload) -> None:
        """Find what was deployed before this trial was thawed, else deploy it."""
        swarm.serve(workload, deployed=self._warm)
