"""Using a swarm: load by Locust in a process of its own, other traffic, programs at the API.

Each of Locust's requests is recorded, and its own failures are kept apart.
"""

from harness.load.cron import Cron, deploy_every, prune_every
from harness.load.datagrams import Datagrams
from harness.load.docker_cli import adopt, docker, log_in
from harness.load.echo import ECHO_PORT, echo_service
from harness.load.followers import EVENTS, Followers, LogsRead, logs_of, read_logs
from harness.load.load import HttpTarget, Load, Place, Traffic
from harness.load.long_connections import LongConnections
from harness.load.outcome import CONNECTION_ERRORS, OUTCOMES, Outcome
from harness.load.plain_containers import PlainContainer, run_plain
from harness.load.polling_proxy import POLL_EVERY, PollingProxy
from harness.load.pulling import have_tasks_pull
from harness.load.timetable import Stage, Timetable
from harness.load.traffic import LOSSES, Account, Connections, Request, Requests, Unasked

__all__ = [
    "CONNECTION_ERRORS",
    "ECHO_PORT",
    "EVENTS",
    "LOSSES",
    "OUTCOMES",
    "POLL_EVERY",
    "Account",
    "Connections",
    "Cron",
    "Datagrams",
    "Followers",
    "HttpTarget",
    "Load",
    "LogsRead",
    "LongConnections",
    "Outcome",
    "Place",
    "PlainContainer",
    "PollingProxy",
    "Request",
    "Requests",
    "Stage",
    "Timetable",
    "Traffic",
    "Unasked",
    "adopt",
    "deploy_every",
    "docker",
    "echo_service",
    "have_tasks_pull",
    "log_in",
    "logs_of",
    "prune_every",
    "read_logs",
    "run_plain",
]
