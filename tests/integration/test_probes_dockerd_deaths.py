"""The oracle on a real node: what ends a dockerd from outside is seen, what is asked for is not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from lab_builds import LabOf

from harness.faults import Faults
from harness.lab import Node
from harness.probes.dockerd_deaths import DockerdDeaths
from harness.trial import Trial
from harness.trial.oracles import DIED, PANICKED
from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def node(lab_of: LabOf) -> Iterator[Node]:
    with lab_of(1) as lab:
        yield lab.node("m1")


def found(open_trial: Trial) -> dict[str, tuple[float | None, bool | None]]:
    return {measure.name: (measure.value, measure.ok) for measure in open_trial.measures.all()}


def test_ends_that_were_asked_for_break_nothing(node: Node, open_trial: Trial) -> None:
    deaths, faults = DockerdDeaths([node], open_trial), Faults(open_trial)
    for fault in (
        faults.kill_dockerd(node),
        faults.kill_node(node),
        faults.process.signal_dockerd(node, "ABRT"),
        faults.process.restart_dockerd(node),
    ):
        with fault:
            pass
    deaths.record()
    assert found(open_trial) == {DIED.name: (0, True), PANICKED.name: (0, True)}


@pytest.mark.parametrize("again", [False, True], ids=["stays dead", "is started again"])
def test_one_that_is_ended_from_outside_breaks_it_with_its_last_words(
    node: Node, open_trial: Trial, *, again: bool
) -> None:
    deaths = DockerdDeaths([node], open_trial)
    os.kill(node.dockerd.pid, signal.SIGABRT)
    wait_for(
        lambda: NotYet("it runs") if node.dockerd.alive else True, state="its end", within=10.0
    )
    if again:
        node.start()
    deaths.record()
    if not again:
        node.start()
    assert found(open_trial) == {DIED.name: (1, False), PANICKED.name: (0, True)}
    assert open_trial.measures.broken()[0].note == "m1: SIGABRT: abort"
