"""A node's state as managers list it, of a swarm whose answers are written down."""

import time
from types import SimpleNamespace
from typing import Any

from harness.probes.node_states import listed_states, time_to_state
from harness.swarm import NoAnswer

WORKER: Any = SimpleNamespace(name="w1")


class Answers:
    """A swarm that gives one answer after the other, and the last one for ever."""

    def __init__(self, *states: str) -> None:
        self._states = list(states)
        self.notes: list[str] = []

    def member(self, node: Any) -> Any:
        assert node is WORKER
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if state == "nobody":
            raise NoAnswer("the swarm", "refused", "no manager is running")
        return SimpleNamespace(state=state)

    def note(self, kind: str, **facts: Any) -> None:
        assert kind == "node.state"
        self.notes.append(facts["state"])


def listed(swarm: Answers, seconds: float) -> list[str]:
    return listed_states(swarm, WORKER, seconds=seconds)  # type: ignore[arg-type]


def test_states_are_listed_in_order_and_changes_go_to_the_journal() -> None:
    swarm = Answers("ready", "down")
    assert listed(swarm, 0.05) == ["ready", "down"]
    assert swarm.notes == ["ready", "down"]


def test_a_state_that_stays_goes_to_the_journal_once() -> None:
    swarm = Answers("ready")
    assert listed(swarm, 0.05) == ["ready", "ready"]
    assert swarm.notes == ["ready"]


def test_times_without_an_answer_are_left_out() -> None:
    assert listed(Answers("nobody", "down"), 0.05) == ["down"]


def test_the_time_to_a_state_counts_from_since() -> None:
    swarm: Any = Answers("ready", "down")
    found = time_to_state(swarm, WORKER, "down", within=5.05, since=time.monotonic() - 5)
    assert found.reached
    assert found.seconds >= 5
    assert swarm.notes == ["down"]


def test_a_state_that_does_not_come_is_longer_than_the_watching() -> None:
    swarm: Any = Answers("nobody", "ready")
    found = time_to_state(swarm, WORKER, "down", within=0.05, since=time.monotonic())
    assert not found.reached
    assert found.last == "ready"
    assert swarm.notes == []
