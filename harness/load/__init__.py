"""Load: Locust in a process of its own, each request recorded, its own failures kept apart."""

from harness.load.load import HttpTarget, Load, Place, Traffic
from harness.load.outcome import CONNECTION_ERRORS, OUTCOMES, Outcome
from harness.load.timetable import Stage, Timetable
from harness.load.traffic import Account, Request, Requests

__all__ = [
    "CONNECTION_ERRORS",
    "OUTCOMES",
    "Account",
    "HttpTarget",
    "Load",
    "Outcome",
    "Place",
    "Request",
    "Requests",
    "Stage",
    "Timetable",
    "Traffic",
]
