"""The counts of the programs that write numbered log lines, read inside their containers.

The way there is the container's network namespace, so neither the swarm's networks nor dockerd's
API have to work once a program has been found.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from functools import partial

from harness.errors import LabError
from harness.lab import Node
from harness.probes.sampling.netns import NetworkNamespace, from_a_thread
from harness.probes.sampling.proc_handle import ProcHandle
from harness.swarm import LOGWRITER_PORT, Deployment

_TIMEOUT = 10.0


@dataclass(frozen=True)
class Written:
    """One program's counts. Stalls are in seconds, of single writes; ``skipped`` lines fell due
    during a stall and were never written.
    """

    task: str
    written: int
    skipped: int
    errors: int
    seconds: float
    longest_stall: float
    current_stall: float


class LogWriters:
    """The running tasks of a service with the image ``logwriter``, found once.

    ``sum(each.written for each in LogWriters(web, "writer").ask().values())``
    """

    def __init__(self, deployment: Deployment, service: str) -> None:
        nodes = deployment.swarm.lab.nodes
        self._programs = [
            _process_of(nodes[task.node], task.id)
            for task in deployment.tasks(service)
            if task.running
        ]
        if not self._programs:
            raise LabError(f"no task of {service} is running")

    def ask(self) -> dict[str, Written]:
        """Return what each program has counted, by task name; :class:`LabError` if one is gone."""
        answers = [from_a_thread(partial(_stats, each)) for each in self._programs]
        return {answer.task: answer for answer in answers}

    def close(self) -> None:
        """Let go of the programs."""
        for each in self._programs:
            each.close()


def _process_of(node: Node, task: str) -> ProcHandle:
    label = f"com.docker.swarm.task.id={task}"
    for container in node.docker.containers.list(filters={"label": label}):
        return ProcHandle(node, int(container.attrs["State"]["Pid"]))
    raise LabError(f"the container of task {task} is not on {node.name}")


def _stats(program: ProcHandle) -> Written:
    namespace = NetworkNamespace(program.network)
    try:
        with namespace.entered():
            connection = http.client.HTTPConnection("127.0.0.1", LOGWRITER_PORT, timeout=_TIMEOUT)
            try:
                connection.request("GET", "/stats")
                facts = json.loads(connection.getresponse().read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise LabError(f"a logwriter does not answer: {error}") from error
            finally:
                connection.close()
    finally:
        namespace.close()
    return Written(**{name: facts[name] for name in Written.__dataclass_fields__})
