"""One file that every node has at the same place, as on shared storage, and who writes to it.

A task that is started elsewhere because its node is cut off finds the storage where it was, and so
does the one that still runs there: two writers, and nothing in the swarm to keep them apart. The
nodes' folders lie on one file system, so a hard link in each of them is that storage.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.errors import LabError
from harness.lab import Node
from harness.swarm import Deployment
from harness.trial import Trial, TrialClock
from harness.wait import Moment, trial_moment

#: Seconds between two writes of one writer; a silence of more than three of them is an end.
EVERY = 0.1

_INSIDE = "/shared"
_FOLDER = "shared-storage"
_FILE = "writes"

#: Appends its name and the kernel's monotonic time, which is one for all nodes of a lab.
_PROGRAM = f"""
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
file = os.open("{_INSIDE}/{_FILE}", os.O_WRONLY | os.O_APPEND)
who = os.environ["NODE_NAME"] + " " + os.environ["TASK_NAME"]
while True:
    os.write(file, f"{{time.monotonic():.3f}} {{who}}\\n".encode())
    time.sleep({EVERY})
"""


@dataclass(frozen=True)
class Write:
    """A line of the file: when (trial seconds), by which task, on which node."""

    t: float
    node: str
    task: str


@dataclass(frozen=True)
class Together:
    """A stretch in which two or more tasks wrote."""

    tasks: tuple[str, ...]
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return round(self.ended - self.began, 6)


class SharedFile:
    """The file, laid out for ``nodes`` before the service that writes to it is started.

    ::

        file = SharedFile(lab.nodes.values(), trial)
        writer = swarm.deploy(workload)  # its service "writer" runs SharedFile.COMMAND
        file.start_writer(writer, "writer")
        file.together(since=cut.began)
    """

    #: What a task of that service runs, in the image of the app.
    COMMAND = ("/usr/bin/python3", "-I", "-S", "-c", _PROGRAM)

    def __init__(self, nodes: Iterable[Node], trial: Trial) -> None:
        self._trial = trial
        self._file: Path | None = None
        for node in nodes:
            folder = node.here.dir / "data" / _FOLDER
            try:
                folder.mkdir(mode=0o700, exist_ok=True)
                place = folder / _FILE
                if self._file is None:
                    self._file = place
                    place.touch()
                else:
                    os.link(self._file, place)
            except OSError as error:
                raise LabError(
                    f"{node.name} cannot share a file with the others: {error.strerror}"
                ) from error

    def start_writer(self, made: Deployment, service: str) -> None:
        """Give a service, deployed with :attr:`COMMAND` and 0 replicas, the file and one task."""

        def edit(spec: dict[str, Any]) -> None:
            spec["TaskTemplate"]["ContainerSpec"]["Mounts"] = [
                {"Type": "bind", "Source": f"/var/lib/docker/{_FOLDER}", "Target": _INSIDE}
            ]
            spec["Mode"]["Replicated"]["Replicas"] = 1

        made.change(service, edit)

    def writes(self) -> list[Write]:
        """Return all writes so far, by time."""
        text = self._file.read_text(errors="replace") if self._file is not None else ""
        return writes_in(text, self._trial.clock)

    def together(self, *, since: Moment = 0.0) -> list[Together]:
        """Return stretches from ``since`` (trial seconds) on in which more than one task wrote."""
        began = trial_moment(since)
        return list(together_in(write for write in self.writes() if write.t >= began))


def writes_in(text: str, clock: TrialClock) -> list[Write]:
    """Return the writes in the file's text; an incomplete line is left out."""
    found = []
    for line in text.splitlines():
        match line.split():
            case [stamp, node, task]:
                try:
                    found.append(Write(round(clock.at(float(stamp)), 3), node, task))
                except ValueError:
                    continue
    return sorted(found, key=lambda write: write.t)


def together_in(writes: Iterable[Write]) -> Iterator[Together]:
    """Stretches of more than one writer, of writes in order of time.

    A task writes from its first line until it is silent for longer than three of its pauses.
    """
    spans: list[tuple[str, float, float]] = []
    open_spans: dict[str, tuple[float, float]] = {}
    for write in writes:
        began, last = open_spans.get(write.task, (write.t, write.t))
        if write.t - last > 3 * EVERY:
            spans.append((write.task, began, last))
            began = write.t
        open_spans[write.task] = (began, write.t)
    spans += [(task, began, last) for task, (began, last) in open_spans.items()]
    edges = sorted({edge for _, began, last in spans for edge in (began, last)})
    current: Together | None = None
    for began, ended in pairwise(edges):
        tasks = tuple(sorted({t for t, first, last in spans if first <= began and ended <= last}))
        if len(tasks) < 2:
            if current is not None:
                yield current
            current = None
        elif current is not None and current.tasks == tasks:
            current = Together(tasks, current.began, ended)
        else:
            if current is not None:
                yield current
            current = Together(tasks, began, ended)
    if current is not None:
        yield current
