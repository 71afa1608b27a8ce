"""What this machine can do, and so which labs can run on it.

Nothing here changes the machine: what has to be tried is tried in throw-away namespaces.
"""

# The checks register themselves on import.
import harness.doctor.checks  # noqa: F401
from harness.doctor.check import REGISTRY, Check, Finding, run_checks
from harness.doctor.labs import Diagnosis, LabFinding, diagnose
from harness.doctor.machine import Machine, this_machine

__all__ = [
    "Check",
    "Diagnosis",
    "Finding",
    "LabFinding",
    "Machine",
    "diagnose",
    "examine",
    "this_machine",
]


def examine(machine: Machine | None = None) -> Diagnosis:
    """Run every check and conclude which labs can run; takes seconds, since a guest is booted."""
    machine = machine or this_machine()
    return diagnose(run_checks(machine, REGISTRY), root=machine.root)
