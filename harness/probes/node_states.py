"""A node's state as the managers list it: ready, down, unknown, disconnected.

That is the dispatcher's view of the node; what gossip makes of it is another matter. What was seen
goes to the journal as ``node.state``, for the report's timeline.
"""

from __future__ import annotations

from harness.lab import Node
from harness.swarm import NoAnswer, SwarmClient
from harness.wait import Elapsed, Moment, NotYet, time_until


def listed_states(
    swarm: SwarmClient, node: Node, *, seconds: float, since: Moment | None = None
) -> list[str]:
    """Return a node's state once a second, until ``seconds`` after ``since`` (default: now).

    Times without an answer are left out.
    """
    states: list[str] = []

    def look() -> NotYet:
        state = _state(swarm, node)
        if isinstance(state, NotYet):
            return state
        if not states or state != states[-1]:
            _note(swarm, node, state)
        states.append(state)
        return NotYet(state)

    time_until(look, state="the end of the observation", within=seconds, every=1.0, since=since)
    return states


def time_to_state(
    swarm: SwarmClient, node: Node, wanted: str, *, within: float, since: Moment
) -> Elapsed:
    """Return how long from ``since`` until the managers list a node in a state, to half a second.

    ``since`` is a reading of the monotonic clock, or a fault.
    """

    def seen() -> bool | NotYet:
        state = _state(swarm, node)
        if isinstance(state, NotYet):
            return state
        return state == wanted or NotYet(state)

    elapsed = time_until(
        seen, state=f"{node.name} to be {wanted}", within=within, every=0.5, since=since
    )
    if elapsed.reached:
        _note(swarm, node, wanted)
    return elapsed


def _state(swarm: SwarmClient, node: Node) -> str | NotYet:
    try:
        return swarm.member(node).state
    except NoAnswer as error:
        return NotYet(error.what)


def _note(swarm: SwarmClient, node: Node, state: str) -> None:
    swarm.note("node.state", node=node.name, state=state, by="managers")
