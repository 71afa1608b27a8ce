"""A node that is only a table of settings, and faults on it: for proofs over many paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from harness.errors import FaultError
from harness.faults import Fault
from harness.faults.parameter import SHARE, parameter, state, target
from harness.trial import EngineFacts, Trial, TrialInputs


def open_trial(folder: Path) -> Trial:
    """A trial on record in a new folder."""
    engine = EngineFacts(name="", version="", source="", digest="")
    inputs = TrialInputs(
        scenario="", engine=engine, topology="", lab="", kernel="", clock="real", seed=1
    )
    return Trial(folder, inputs)


class ModelNode:
    """``live`` is gone with the power (qdiscs, limits, processes); ``files`` stay."""

    FRESH: ClassVar[dict[str, str]] = {"dockerd": "running", "qdisc": "none", "limit": "none"}

    def __init__(self, name: str) -> None:
        self.name = name
        self.up = True
        self.live = dict(self.FRESH)
        self.files = {"ballast": 0}

    def power_cut(self) -> None:
        self.up = False
        self.live = dict.fromkeys(self.live, "gone")

    def power_on(self) -> None:
        self.up = True
        self.live = dict(self.FRESH)

    @property
    def state(self) -> tuple[bool, dict[str, str], dict[str, int]]:
        return self.up, dict(self.live), dict(self.files)


class ModelFault(Fault):
    """Fails or is interrupted where ``trouble`` says, as often as it says."""

    summary = "for tests"
    proof = "the table says so"

    node: Any = target(kw_only=False)
    trouble: dict[str, list[BaseException]] = state(factory=dict)
    done: list[str] = state(factory=list)

    @property
    def target_name(self) -> str:
        name: str = self.node.name
        return name

    def change(self) -> None:
        """Change the node."""
        raise NotImplementedError

    def change_back(self) -> None:
        """Undo the change."""
        raise NotImplementedError

    def stumble(self, where: str) -> None:
        self.done.append(where)
        if self.trouble.get(where):
            raise self.trouble[where].pop()

    def precheck(self) -> None:
        self.stumble("precheck")
        if not self.node.up:
            raise FaultError(f"{self.node.name} is off")

    def apply(self) -> None:
        self.stumble("apply")
        self.change()
        self.stumble("applied")

    def evidence(self) -> str:
        self.stumble("evidence")
        return "seen"

    def undo(self) -> None:
        self.stumble("undo")
        self.change_back()
        self.stumble("undone")

    def evidence_of_healing(self) -> str:
        self.stumble("evidence of healing")
        return "seen"


class Shaped(ModelFault):
    """A qdisc: nothing is left of it when the node has lost its power."""

    name = "shaped"
    excludes = ("the qdisc",)

    loss: float = parameter(SHARE, "how much is lost", default="10%")

    def change(self) -> None:
        self.node.live["qdisc"] = f"loss {self.loss}"

    def change_back(self) -> None:
        if self.node.up:
            self.node.live["qdisc"] = "none"


class Delayed(Shaped):
    """Another fault that wants the same qdisc."""

    name = "delayed"


class Limited(ModelFault):
    """A limit that remembers what was there before."""

    name = "limited"
    needed_to_heal = ("before",)

    before: str | None = state(None)

    def change(self) -> None:
        self.before = self.node.live["limit"]
        self.node.live["limit"] = "64 MiB"

    def change_back(self) -> None:
        if self.node.live["limit"] == "64 MiB":
            self.node.live["limit"] = self.before


class Filled(ModelFault):
    """A file, which stays when the power goes."""

    name = "filled"

    def change(self) -> None:
        self.node.files["ballast"] = 1

    def change_back(self) -> None:
        self.node.files["ballast"] = 0


class PowerCut(ModelFault):
    """The node goes off, and everything that lives on it."""

    name = "power-cut"

    def change(self) -> None:
        self.node.power_cut()

    def change_back(self) -> None:
        if not self.node.up:
            self.node.power_on()


KINDS: dict[str, type[ModelFault]] = {
    kind.name: kind for kind in (Shaped, Delayed, Limited, Filled, PowerCut)
}
