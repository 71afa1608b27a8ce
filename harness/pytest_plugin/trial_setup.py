"""One trial while it runs: its record, lab and faults, and what has to be ended in order."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from harness.guest.contract import CLOCK_VARIABLE, LAB_VARIABLE
from harness.lab import Lab, probe_features
from harness.pytest_plugin.checkpoints import has_checkpoints, pass_checkpoints
from harness.pytest_plugin.lab_source import FreshLab, LabSource, ThawedLab
from harness.pytest_plugin.markers import chosen_lab
from harness.pytest_plugin.session import Session
from harness.pytest_plugin.trial_request import TrialRequest
from harness.trial import Trial

if TYPE_CHECKING:
    from harness.probes.leadership import Leadership
    from harness.probes.oracles.standing import StandingOracles
    from harness.swarm import Swarm

SETUP = pytest.StashKey["TrialSetup"]()

TOPOLOGY_FILE = "topology.json"
"""In a trial's folder: what the topology's file says, if it was given as a file."""


@dataclass
class TrialSetup:
    """All of one trial that must be ended in order: made by the plugin, filled by fixtures."""

    request: TrialRequest
    session: Session
    source: LabSource
    trial: Trial | None = None
    lab: Lab | None = None
    leadership: Leadership | None = None
    swarm: Swarm | None = None
    oracles: StandingOracles | None = None
    closing: list[Callable[[], None]] = field(default_factory=list)
    """What ends, or is written, when faults are healed and before the trial is judged."""
    stack: ExitStack = field(default_factory=ExitStack)

    def open_trial(self) -> Trial:
        """Open the record; the engine is provided first, for its version belongs to the inputs."""
        inputs = self.request.inputs(
            self.source.engine(),
            lab=os.environ.get(LAB_VARIABLE) or chosen_lab(self.session.options),
            kernel=platform.release(),
            clock=os.environ.get(CLOCK_VARIABLE, "real"),
        )
        self.trial = Trial(self.session.folders.new(inputs), inputs)
        if self.request.file is not None:
            (self.trial.folder / TOPOLOGY_FILE).write_text(f"{self.request.file.text}\n")
        self.session.progress.watch(self.trial)
        if self.session.options.attach is not None and has_checkpoints():
            self.trial.journal.listen(pass_checkpoints(self.hand_over))
        return self.trial

    def hand_over(self) -> None:
        """Give the guest to a person in the state it is in, and end it after that."""
        from harness.guest.shell import hand_over  # seldom: a guest takes time to import it

        assert self.trial is not None
        assert self.lab is not None
        hand_over(self.lab, self.trial.folder)

    def open_lab(self) -> Lab:
        """Have the nodes up, and record what they are."""
        self.lab = lab = self.source.open(self.stack)
        assert self.trial is not None
        self.trial.journal.write(
            "lab.ready",
            nodes={
                node.name: {
                    "address": node.address,
                    "engine": node.engine.version,
                    "planned_role": node.planned_role,
                }
                for node in lab.nodes.values()
            },
        )
        for warning in self.request.topology.warnings():
            self.trial.journal.write("note", text=warning)
        if self.request.capture:
            from harness.probes.capture import Capture

            self.closing.append(Capture(lab, self.trial).close)
        self.oracles = _standing_oracles(lab, self.trial)
        return lab

    def form_swarm(self) -> Swarm:
        """Have the swarm formed, as the topology says it is; it serves nothing yet."""
        assert self.lab is not None
        assert self.trial is not None
        self.swarm = swarm = self.source.swarm(self.lab, self.trial)
        self.trial.journal.write(
            "swarm.formed",
            leader=swarm.leader.name,
            managers=[node.name for node in swarm.managers],
            workers=[node.name for node in swarm.workers],
            mesh=probe_features().mesh,
        )
        if (file := self.request.file) is not None:
            from harness.faults.topology_setup import hold, set_labels

            set_labels(file, swarm)
            hold(file, swarm, self.trial)
        return swarm

    def wind_down(self, oracles_off: Mapping[str, str] | None = None) -> None:
        """Heal what is still injected and collect what the trial leaves, before it is judged.

        The oracles are asked, but those that are off (name -> reason); None: none is asked.
        """
        if self.trial is not None:
            self.trial.active_faults.heal_all()
        if self.trial is None or self.lab is None:
            return
        if self.leadership is not None:
            self.leadership.save()
        for close in reversed(self.closing):
            close()
        if self.oracles is not None and oracles_off is not None:
            self._ask_oracles(self.oracles, self.trial, oracles_off)
        self.lab.collect_logs(self.trial.folder / "logs")

    def _ask_oracles(self, oracles: StandingOracles, trial: Trial, off: Mapping[str, str]) -> None:
        try:
            oracles.record(self.swarm, off)
        except Exception as error:
            trial.doubt(f"the oracles could not be asked: {type(error).__name__}: {error}")


def _standing_oracles(lab: Lab, trial: Trial) -> StandingOracles:
    from harness.probes.oracles.standing import StandingOracles

    return StandingOracles(lab.nodes.values(), trial)


def prepare_setup(item: pytest.Item, session: Session) -> TrialSetup:
    """Set up the trial of a scenario; nothing has been opened yet."""
    request = TrialRequest.of(item, session.options)
    attach = session.options.attach
    source: LabSource = FreshLab(request, session.maker) if attach is None else ThawedLab(attach)
    return TrialSetup(request, session, source)


def setup_of(request: pytest.FixtureRequest) -> TrialSetup:
    """Return the setup of the trial that a fixture is asked for in."""
    setup: TrialSetup = request.node.stash[SETUP]
    return setup
