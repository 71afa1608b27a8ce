"""Whatever is injected, healed or dies, in whatever order: it ends in the state it began from."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec
import pytest
from faults_model import KINDS, ModelFault, ModelNode, open_trial
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from optionals import not_none

from harness.errors import FaultError
from harness.faults import Faults
from harness.trial import Trial, read_lines

WHERE_IN_INJECT = ("precheck", "apply", "applied", "evidence")
WHERE_IN_HEAL = ("undo", "undone", "evidence of healing")
TROUBLES = (FaultError, OSError, KeyboardInterrupt)


class Undo(RuleBasedStateMachine):
    """Two nodes, every kind of fault, and all that can go wrong."""

    trial: Trial | None = None

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.harnesses = 0
        self.nodes = [ModelNode("m1"), ModelNode("w1")]
        self.before = [node.state for node in self.nodes]
        self.faults: list[ModelFault] = []
        self.start_harness()

    def start_harness(self) -> None:
        self.harnesses += 1
        if self.trial is not None:
            self.trial.journal.close()
        self.trial = open_trial(self.folder / str(self.harnesses))

    def active(self) -> list[ModelFault]:
        return [fault for fault in self.faults if fault.active]

    @rule(kind=st.sampled_from(sorted(KINDS)), at=st.integers(0, 1))
    def inject(self, kind: str, at: int) -> None:
        fault = KINDS[kind](not_none(self.trial), self.nodes[at])
        before = [node.state for node in self.nodes]
        clash = any(fault.claims() & other.claims() for other in self.active())
        possible = self.nodes[at].up and not clash
        try:
            fault.inject()
        except FaultError:
            assert not possible
            assert [node.state for node in self.nodes] == before
        else:
            assert possible
            self.faults.append(fault)

    @rule(
        kind=st.sampled_from(sorted(KINDS)),
        at=st.integers(0, 1),
        where=st.sampled_from(WHERE_IN_INJECT),
        trouble=st.sampled_from(TROUBLES),
        heal_too=st.booleans(),
    )
    def inject_and_stumble(
        self,
        kind: str,
        at: int,
        where: str,
        trouble: type[KeyboardInterrupt | FaultError | OSError],
        heal_too: bool,
    ) -> None:
        fault = KINDS[kind](not_none(self.trial), self.nodes[at])
        fault.trouble = {where: [trouble("stumbled")]}
        if heal_too:
            fault.trouble["undo"] = [FaultError("stumbled again")]
        with pytest.raises((FaultError, trouble)):
            fault.inject()
        self.faults.append(fault)

    @precondition(lambda self: self.active())
    @rule(data=st.data())
    def heal(self, data: st.DataObject) -> None:
        fault = data.draw(st.sampled_from(self.active()))
        if fault.trouble.get("undo"):
            with pytest.raises(FaultError):
                fault.heal()
        else:
            fault.heal()

    @precondition(lambda self: self.active())
    @rule(data=st.data())
    def trouble_is_to_come(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.active())).trouble = {"undo": [FaultError("stumbled")]}

    @precondition(lambda self: self.active())
    @rule(
        data=st.data(),
        where=st.sampled_from(WHERE_IN_HEAL),
        trouble=st.sampled_from(TROUBLES),
    )
    def heal_and_stumble(
        self,
        data: st.DataObject,
        where: str,
        trouble: type[FaultError | OSError | KeyboardInterrupt],
    ) -> None:
        fault = data.draw(st.sampled_from(self.active()))
        fault.trouble = {where: [trouble("stumbled")]}
        with pytest.raises(trouble):
            fault.heal()
        assert fault.active

    @rule(at=st.integers(0, 1))
    def node_crashes_and_comes_back(self, at: int) -> None:
        self.nodes[at].power_cut()
        self.nodes[at].power_on()

    @rule()
    def harness_dies_and_another_takes_over(self) -> None:
        kept = [
            (
                type(fault).name,
                fault.node,
                not_none(fault.id),
                msgspec.json.encode(fault.heal_state()),
            )
            for fault in not_none(self.trial).active_faults.active
            if isinstance(fault, ModelFault)
        ]
        self.start_harness()
        self.faults = []
        for name, node, number, memory in kept:
            fault = KINDS[name](not_none(self.trial), node)
            fault.resume(number, msgspec.json.decode(memory))
            self.faults.append(fault)

    @invariant()
    def the_ledger_knows_what_is_active(self) -> None:
        if self.trial is None:
            return
        assert sorted(map(id, self.trial.active_faults.active)) == sorted(map(id, self.active()))
        claims = [claim for fault in self.active() for claim in fault.claims()]
        assert len(claims) == len(set(claims))

    @invariant()
    def nothing_is_done_that_is_not_on_record(self) -> None:
        if self.trial is None:
            return
        entries = list(read_lines(self.trial.journal.path))
        begun = {e["id"] for e in entries if e["kind"] == "fault.inject"}
        told = {e["id"] for e in entries if e["kind"] in ("fault.evidence", "fault.heal")}
        assert begun <= told, "each left evidence, or was healed at once"

    def teardown(self) -> None:
        if self.trial is None:
            return
        Faults(self.trial).heal_all()
        Faults(self.trial).heal_all()  # trouble that was still to come has come by now
        assert self.trial.active_faults.active == []
        assert [node.state for node in self.nodes] == self.before
        self.trial.journal.close()
        shutil.rmtree(self.folder)


class TestUndo(Undo.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
