"""Tasks as a manager lists them, and why those that should run do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Task:
    """A task as a manager's API lists it; ``message`` and ``error`` as ``service ps`` shows them.

    ``addresses`` are those it was given on networks, with their prefix length.
    """

    id: str
    service: str
    slot: int | None
    node: str
    state: str
    desired: str
    created: str
    message: str
    error: str
    addresses: tuple[str, ...]

    @property
    def running(self) -> bool:
        """Whether it runs, and is meant to."""
        return self.state == "running" and self.wanted

    @property
    def wanted(self) -> bool:
        """Whether it is meant to run, or of a job: to run to its end."""
        return self.desired in ("running", "complete")

    @classmethod
    def of(cls, attrs: Mapping[str, Any], *, service: str, nodes: Mapping[str, str]) -> Self:
        """From an element of ``GET /tasks``; ``nodes`` are names by id."""
        return cls(
            id=attrs["ID"],
            service=service,
            slot=attrs.get("Slot"),
            node=nodes.get(attrs.get("NodeID", ""), ""),
            state=attrs["Status"]["State"],
            desired=attrs["DesiredState"],
            created=attrs["CreatedAt"],
            message=attrs["Status"].get("Message", ""),
            error=attrs["Status"].get("Err", ""),
            addresses=tuple(
                address
                for attachment in attrs.get("NetworksAttachments") or ()
                for address in attachment.get("Addresses") or ()
            ),
        )


def why_not_running(tasks: Iterable[Task]) -> str:
    """Return the states and errors of tasks that should run, and the error of the last that ended.

    A task that fails is replaced at once, so that its error is on a task no longer wanted.
    """
    late = [task for task in tasks if task.wanted and not task.running and task.state != "complete"]
    states = ", ".join(f"{t.state} ({t.error})" if t.error else t.state for t in late)
    ended = [task for task in tasks if not task.wanted and task.error]
    why = states or "no other task is under way"
    if ended:
        last = max(ended, key=lambda task: task.created)
        why += f"; the last that ended, on {last.node or 'no node'}: {last.error}"
    return why
