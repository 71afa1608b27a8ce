"""Using a swarm: load by Locust in a process of its own, and the docker command of an operator.

Each of Locust's requests is recorded, and its own failures are kept apart.
"""

from harness.load.datagrams import Datagrams
from harness.load.docker_cli import adopt, docker, log_in
from harness.load.echo import ECHO_PORT, echo_service
from harness.load.load import HttpTarget, Load, Place, Traffic
from harness.load.long_connections import LongConnections
from harness.load.outcome import CONNECTION_ERRORS, OUTCOMES, Outcome
from harness.load.pulling import have_tasks_pull
from harness.load.timetable import Stage, Timetable
from harness.load.traffic import LOSSES, Account, Connections, Request, Requests, Unasked

__all__ = [
    "CONNECTION_ERRORS",
    "ECHO_PORT",
    "LOSSES",
    "OUTCOMES",
    "Account",
    "Connections",
    "Datagrams",
    "HttpTarget",
    "Load",
    "LongConnections",
    "Outcome",
    "Place",
    "Request",
    "Requests",
    "Stage",
    "Timetable",
    "Traffic",
    "Unasked",
    "adopt",
    "docker",
    "echo_service",
    "have_tasks_pull",
    "log_in",
]
