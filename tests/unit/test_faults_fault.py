"""One life for every fault: what is on record, what is refused, what is healed whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faults_model import Delayed, Filled, Limited, ModelNode, PowerCut, Shaped, open_trial
from optionals import not_none

from harness.errors import FaultError, TrialError, UsageError, WaitTimeout
from harness.faults import Faults
from harness.faults.node_fault import DOCKERD, NodeFault
from harness.trial import Trial, read_lines
from harness.wait import monotonic_moment, trial_moment


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    trial = open_trial(tmp_path / "trial")
    yield trial
    trial.journal.close()


@pytest.fixture
def node() -> Any:
    return ModelNode("m1")


def kinds(trial: Trial) -> list[str]:
    """What the journal says of faults."""
    return [e["kind"] for e in read_lines(trial.journal.path) if e["kind"] != "trial.start"]


def test_a_life_without_trouble(trial: Trial, node: Any) -> None:
    before = node.state
    fault: Any
    with Shaped(trial, node, loss=0.3) as fault:
        assert fault.active
        assert fault.id == "shaped-1"
        assert node.live["qdisc"] == "loss 0.3"
        assert trial.active_faults.active == [fault]
    assert not fault.active
    assert node.state == before
    assert trial.active_faults.active == []
    assert kinds(trial) == ["fault.inject", "fault.evidence", "fault.heal", "fault.healed"]
    assert trial.doubts == []
    fault.heal()
    assert len(kinds(trial)) == 4, "to heal what is healed is nothing"


def test_a_fault_that_was_not_injected_is_not_a_moment(trial: Trial, node: Any) -> None:
    fault: Any = Shaped(trial, node)
    assert not fault.was_injected
    with pytest.raises(UsageError, match="has not been injected"):
        monotonic_moment(fault)
    with pytest.raises(UsageError, match="has not been injected"):
        trial_moment(fault)
    with fault, pytest.raises(UsageError, match="has not been healed"):
        fault.healed_at  # noqa: B018 - reading it is what is tested
    assert fault.was_injected
    assert fault.injected_at <= fault.healed_at
    assert trial_moment(fault) == fault.began


def test_it_is_in_the_journal_before_it_is_done(trial: Trial, node: Any) -> None:
    seen = []
    fault: Any = Filled(trial, node)
    fault.change = lambda: seen.extend(kinds(trial))
    fault.change_back = lambda: seen.extend(kinds(trial)[2:])
    with fault:
        pass
    assert seen == ["fault.inject", "fault.heal"]


def test_a_precheck_that_says_no_touches_nothing(trial: Trial, node: Any) -> None:
    node.power_cut()
    before = node.state
    fault = Filled(trial, node)
    with pytest.raises(FaultError, match="m1 is off"):
        fault.inject()
    assert node.state == before
    assert kinds(trial) == []
    assert trial.active_faults.active == []
    node.power_on()
    with fault:
        assert fault.id == "filled-1", "a refused one has no number"


@pytest.mark.parametrize("where", ["apply", "applied", "evidence"])
@pytest.mark.parametrize("error", [FaultError("no"), OSError("no"), KeyboardInterrupt()])
def test_one_that_fails_half_way_is_undone_and_the_trial_is_in_doubt(
    trial: Trial, node: Any, where: str, error: FaultError | OSError | KeyboardInterrupt
) -> None:
    before = node.state
    fault = Shaped(trial, node)
    fault.trouble = {where: [error]}
    with pytest.raises(type(error)):
        fault.inject()
    assert node.state == before
    assert not fault.active
    assert trial.active_faults.active == []
    [doubt] = trial.doubts
    assert "the fault shaped-1 left no evidence" in doubt
    assert ("interrupted" in doubt) == isinstance(error, KeyboardInterrupt)


def test_one_that_cannot_be_healed_stays_active_and_is_tried_again_at_the_end(
    trial: Trial, node: Any
) -> None:
    before = node.state
    faults = Faults(trial)
    fault: Any = Shaped(trial, node)
    fault.trouble = {"undo": [FaultError("not now")]}
    with pytest.raises(FaultError, match="not now"), fault:
        pass
    assert fault.active
    assert node.state != before
    faults.heal_all()
    assert not fault.active
    assert node.state == before
    assert trial.doubts == ["the fault shaped-1 could not be healed: not now"]


def test_a_heal_that_is_interrupted_is_done_again_at_the_end(trial: Trial, node: Any) -> None:
    before = node.state
    fault = Shaped(trial, node)
    fault.trouble = {"undo": [KeyboardInterrupt()]}
    with pytest.raises(KeyboardInterrupt), fault:
        pass
    Faults(trial).heal_all()
    assert node.state == before


def test_what_goes_wrong_in_the_block_is_the_first_cause(trial: Trial, node: Any) -> None:
    fault: Any = Shaped(trial, node)
    fault.trouble = {"undo": [FaultError("not now")]}
    with pytest.raises(KeyboardInterrupt), fault:
        raise KeyboardInterrupt
    assert trial.doubts == ["the fault shaped-1 could not be healed: not now"]


def test_all_are_healed_in_reverse_order_whatever_happens(trial: Trial, node: Any) -> None:
    order = []
    made: list[Any] = [
        Shaped(trial, node),
        Filled(trial, node),
        Limited(trial, node),
        PowerCut(trial, node),
    ]
    troubles = [None, FaultError("no"), KeyboardInterrupt(), ValueError("a bug")]
    for fault, trouble in zip(made, troubles, strict=True):
        fault.inject()
        fault.trouble = {"undone": [trouble] if trouble else []}
        fault.change_back = lambda fault=fault: order.append(fault.name)
    with pytest.raises(KeyboardInterrupt):
        Faults(trial).heal_all()
    assert order == ["power-cut", "limited", "filled", "shaped"]
    assert trial.active_faults.active == made[1:], "these were not proven to be healed"
    Faults(trial).heal_all()
    assert trial.active_faults.active == []


@pytest.mark.parametrize("second", [Shaped, Delayed])
def test_contradictions_are_refused_before_anything_is_touched(
    trial: Trial, node: Any, second: type[Any]
) -> None:
    with Shaped(trial, node, loss=0.3):
        other = second(trial, node, loss=0.5)
        with pytest.raises(FaultError, match="both claim the qdisc of m1") as refusal:
            other.inject()
        assert "contradicts shaped" in refusal.value.what
        assert other.done == [], "not even the precheck"
        assert node.live["qdisc"] == "loss 0.3"
        with second(trial, ModelNode("m2")), Filled(trial, node):
            pass
    with second(trial, node):
        pass
    assert trial.doubts == []


def test_one_instance_is_injected_once_at_a_time(trial: Trial, node: Any) -> None:
    with Filled(trial, node) as fault, pytest.raises(FaultError, match="injected already"):
        fault.inject()
    with fault:
        assert fault.id == "filled-2"


def test_a_fault_that_survives_its_target_is_still_healed(trial: Trial, node: Any) -> None:
    before = node.state
    with Shaped(trial, node), Filled(trial, node), PowerCut(trial, node):
        pass
    assert node.state == before
    with Filled(trial, node):
        node.power_cut()
        node.power_on()
    assert node.state == before
    assert trial.doubts == []


def test_a_journal_that_cannot_be_written_keeps_nobody_from_healing(
    trial: Trial, node: Any
) -> None:
    before = node.state
    fault = Shaped(trial, node).inject()
    trial.journal.close()

    def write(*_: str, **__: str) -> None:
        raise TrialError("the disk is full")

    trial.journal.write = write  # type: ignore[assignment, method-assign]
    fault.heal()
    assert node.state == before
    with pytest.raises(TrialError):
        fault.inject()
    assert node.state == before


def test_another_process_can_heal_it(trial: Trial, node: Any, tmp_path: Path) -> None:
    before = node.state
    fault = Limited(trial, node).inject()
    saved = fault.heal_state()
    assert saved == {"before": "none"}
    theirs = open_trial(tmp_path / "theirs")
    again = Limited(theirs, node)
    again.resume(not_none(fault.id), saved)
    assert again.active
    with pytest.raises(FaultError, match=r"contradicts limited-1"):
        Limited(theirs, node).inject()
    again.heal()
    assert node.state == before
    assert theirs.active_faults.active == []
    theirs.journal.close()


def test_two_threads_heal_it_once(trial: Trial, node: Any) -> None:
    fault = Filled(trial, node).inject()
    threads = [threading.Thread(target=fault.heal) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fault.done.count("undo") == 1


def test_one_that_another_stands_in_the_way_of_is_tried_again_after_that(
    trial: Trial, node: Any
) -> None:
    first: Any = Filled(trial, node).inject()
    second: Any = Shaped(trial, node).inject()

    def undo() -> None:
        if first.active:
            raise FaultError("the disk is full")

    second.change_back = undo
    assert trial.active_faults.heal_all() == []
    assert trial.active_faults.active == []
    assert trial.doubts == ["the fault shaped-2 could not be healed: the disk is full"]


def test_who_claims_what_can_be_asked(trial: Trial, node: Any) -> None:
    fault = Shaped(trial, node).inject()
    active_faults = trial.active_faults
    assert active_faults.claimed_by("the qdisc of m1", other_than=Filled(trial, node)) == "shaped"
    assert active_faults.claimed_by("the qdisc of m1", other_than=fault) is None
    assert active_faults.claimed_by("the qdisc of m2", other_than=Filled(trial, node)) is None


class Machine:
    """A node whose dockerd can be started, and whose API answers while it runs."""

    name, up = "m1", True

    def __init__(self) -> None:
        self.here = self
        self.groups = SimpleNamespace(unified=None)
        self.starts = 0
        self.dockerd = SimpleNamespace(alive=True, silent=False, pings=0)
        self.dockerd.ping = self.ping

    def ping(self, timeout: float = 2.0) -> bool:
        self.dockerd.pings += 1
        result: bool = self.dockerd.alive and not self.dockerd.silent
        return result

    def start(self) -> None:
        self.starts += 1
        self.dockerd.alive = True


class Ended(NodeFault):
    name, summary, proof = "ended", "", ""
    excludes = (DOCKERD,)

    def precheck(self) -> None:
        self.require_dockerd()

    def apply(self) -> None:
        self.node.dockerd.alive = False  # type: ignore[misc]

    def evidence(self) -> str:
        return "it is gone"

    def undo(self) -> None:
        self.restore()

    def evidence_of_healing(self) -> str:
        return self.answers()


class Starved(Ended):
    name = "starved"
    excludes = ()  # type: ignore[assignment]


def test_a_heal_leaves_dockerd_down_that_another_fault_has_ended(trial: Trial) -> None:
    machine: Any = Machine()
    starved, ended = Starved(trial, machine).inject(), Ended(trial, machine)
    machine.dockerd.alive = True
    ended.inject()
    starved.heal()
    assert machine.starts == 0
    assert machine.dockerd.pings == 0, "it was not asked in vain"
    ended.heal()
    assert machine.starts == 1
    assert machine.dockerd.pings == 1
    assert trial.doubts == []


def test_a_heal_lets_a_dockerd_end_that_is_on_its_way_out(trial: Trial) -> None:
    """Whoever has told it to may have been killed since: nobody else would start it again."""
    machine: Any = Machine()
    starved = Starved(trial, machine).inject()
    machine.dockerd.alive = machine.dockerd.silent = True

    def ends_when_asked_twice(timeout: float = 2.0) -> bool:
        machine.dockerd.pings += 1
        if machine.dockerd.pings == 2:
            machine.dockerd.alive = False
        answers: bool = machine.starts > 0
        return answers

    machine.dockerd.ping = ends_when_asked_twice
    starved.heal()
    assert machine.starts == 1
    assert trial.doubts == []


class Exhausted(Starved):
    name = "exhausted"
    may_end_dockerd = True


def test_a_heal_beside_a_fault_that_starves_dockerd_is_not_refused_for_its_silence(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.faults.node_fault._STARVED_ANSWERS_WITHIN", 0.1)
    monkeypatch.setattr("harness.faults.node_fault._ANSWERS_WITHIN", 0.2)
    machine: Any = Machine()
    starved, exhausted = Starved(trial, machine).inject(), Exhausted(trial, machine)
    machine.dockerd.alive = True
    exhausted.inject()
    machine.dockerd.alive = True
    machine.dockerd.silent = True
    starved.heal()
    assert trial.doubts == []
    [healed] = [e for e in read_lines(trial.journal.path) if e["kind"] == "fault.healed"]
    assert healed["proof"] == "the API of m1 does not answer, exhausted-2 is still injected"
    with pytest.raises(WaitTimeout, match="no answer to _ping"):
        exhausted.heal()  # nothing else is to blame


def test_a_node_that_stands_still_takes_no_other_fault(trial: Trial, tmp_path: Path) -> None:
    machine: Any = Machine()
    machine.groups.unified = tmp_path
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    with pytest.raises(FaultError, match="m1 is paused"):
        Starved(trial, machine).inject()
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    with Starved(trial, machine):
        pass
