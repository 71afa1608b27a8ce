"""The oracle: which dockerds died unasked, and whose log says that one panicked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import msgspec
import pytest
from bare_trials import bare_trial

from harness.faults import Fault
from harness.faults.catalogue import catalogue
from harness.faults.parameter import target
from harness.lab import Node
from harness.lab.dockerd_ends import DockerdEnds
from harness.probes.dockerd_deaths import DockerdDeaths
from harness.trial import (
    Expectation,
    Measure,
    Trial,
    TrialRecord,
    as_expected,
)
from harness.trial.oracles import DIED, PANICKED, broken_oracles, of_the_scenario

OTHER = Expectation("other", unit="s", at_most=1, source="upstream")


@dataclass
class Dockerd:
    """Only whether it runs."""

    alive: bool = True


@dataclass(eq=False)
class Pretended:
    """A node as far as the oracle looks at it."""

    name: str
    dir: Path
    up: bool = True
    dockerd: Dockerd = field(default_factory=Dockerd)
    dockerd_ends: DockerdEnds = field(default_factory=DockerdEnds)

    @property
    def log(self) -> Path:
        return self.dir / "dockerd.log"

    def says(self, text: str) -> None:
        with (self.dir / "dockerd.log").open("a") as log:
            log.write(text)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    made = bare_trial(tmp_path / "trial")
    yield made
    made.journal.close()


@pytest.fixture
def node(tmp_path: Path) -> Pretended:
    (tmp_path / "w1").mkdir()
    made = Pretended("w1", tmp_path / "w1")
    made.says("panic: before the trial\n")
    return made


@pytest.fixture
def oracle(node: Pretended, trial: Trial) -> DockerdDeaths:
    return DockerdDeaths([cast("Node", node)], trial)


def taken(trial: Trial) -> dict[str, Measure]:
    return {measure.name: measure for measure in trial.measures.all()}


def test_a_trial_in_which_all_lived_has_both_kept(oracle: DockerdDeaths, trial: Trial) -> None:
    oracle.record()
    measures = taken(trial)
    assert measures.keys() == {DIED.name, PANICKED.name}
    assert [m.value for m in measures.values()] == [0, 0]
    assert [m.ok for m in measures.values()] == [True, True]


def test_one_that_is_dead_in_the_end_died_unasked(
    node: Pretended, oracle: DockerdDeaths, trial: Trial
) -> None:
    node.says("a\nb\nc\nd\n")
    node.dockerd.alive = False
    oracle.record()
    died = taken(trial)[DIED.name]
    assert (died.value, died.ok, died.note) == (1, False, "w1: b / c / d")
    assert taken(trial)[PANICKED.name].ok is True


@pytest.mark.parametrize("up", [True, False])
def test_one_whose_end_was_asked_for_did_not(
    up: bool, node: Pretended, oracle: DockerdDeaths, trial: Trial
) -> None:
    node.dockerd_ends.asked()
    node.dockerd.alive, node.up = False, up
    oracle.record()
    assert taken(trial)[DIED.name].value == 0


def test_a_node_that_went_off_by_itself_took_its_dockerd(
    node: Pretended, oracle: DockerdDeaths, trial: Trial
) -> None:
    node.up = False
    oracle.record()
    assert taken(trial)[DIED.name].value == 1


def test_one_that_died_twice_and_was_started_again_counts_twice(
    node: Pretended, oracle: DockerdDeaths, trial: Trial
) -> None:
    for _ in range(2):
        node.dockerd_ends.found_dead()
        node.dockerd_ends.started()
    node.says("level=info\npanic: nil map\n\ngoroutine 1:\npanic: again\n")
    oracle.record()
    assert taken(trial)[DIED.name].value == 2
    assert taken(trial)[DIED.name].note == "w1: panic: nil map"
    assert taken(trial)[PANICKED.name].value == 2
    assert taken(trial)[PANICKED.name].note == "w1: panic: nil map"


class Harmless(Fault):
    """A fault that may end nothing."""

    name = "harmless"
    proof = "none"

    where: str = target(kw_only=False)

    @property
    def target_name(self) -> str:
        return self.where

    def precheck(self) -> None: ...

    def apply(self) -> None: ...

    def evidence(self) -> str:
        return "seen"

    def undo(self) -> None: ...

    def evidence_of_healing(self) -> str:
        return "gone"


class Starving(Harmless):
    """A fault that takes what dockerd lives of."""

    name = "starving"
    may_end_dockerd = True


@pytest.mark.parametrize(
    ("kind", "where", "counted"),
    [(Starving, "w1", 0), (Starving, "w2", 1), (Harmless, "w1", 1)],
)
def test_what_died_under_a_fault_that_may_end_it_is_the_faults(
    kind: type[Harmless],
    where: str,
    counted: int,
    node: Pretended,
    oracle: DockerdDeaths,
    trial: Trial,
) -> None:
    with kind(trial, where):
        node.dockerd.alive = False
        node.says("fatal error: newosproc\n")
    oracle.record()
    assert [m.value for m in taken(trial).values()] == [counted, counted]


def test_the_faults_that_may_end_a_dockerd_are_those_that_starve_it() -> None:
    kinds: list[type[Fault]] = list(catalogue().values())
    assert {kind.name for kind in kinds if kind.may_end_dockerd} == {
        "descriptors-exhausted",
        "disk-full",
        "dockerd-memory-limited",
        "memory-held",
        "memory-limited",
        "processes-exhausted",
    }


def record_of(trial: Trial, *, control: bool, must_break: tuple[str, ...]) -> TrialRecord:
    trial.inputs = msgspec.structs.replace(trial.inputs, control=control)
    return trial.finish(None, must_break=must_break)


@pytest.mark.parametrize(
    ("must_break", "expected"), [((OTHER.name,), False), ((OTHER.name, DIED.name), True)]
)
def test_a_control_breaks_what_is_held_against_every_trial_only_if_it_names_it(
    must_break: tuple[str, ...],
    expected: bool,
    node: Pretended,
    oracle: DockerdDeaths,
    trial: Trial,
) -> None:
    trial.measures(OTHER, 2)
    node.dockerd.alive = False
    oracle.record()
    record = record_of(trial, control=True, must_break=must_break)
    assert as_expected(record) is expected


def test_a_plain_trial_fails_by_it(node: Pretended, oracle: DockerdDeaths, trial: Trial) -> None:
    node.dockerd.alive = False
    oracle.record()
    record = record_of(trial, control=False, must_break=())
    assert record.verdict == "fail"
    assert record.reason.startswith("dockerds that died unasked: 1 (exactly 0 expected), w1: ")


def test_the_scenarios_own_measures_are_told_apart(
    node: Pretended, oracle: DockerdDeaths, trial: Trial
) -> None:
    trial.measures(OTHER, 0.5)
    node.dockerd.alive = False
    oracle.record()
    measures = trial.measures.all()
    assert [m.name for m in of_the_scenario(measures)] == [OTHER.name]
    assert [m.name for m in broken_oracles(measures)] == [DIED.name]
