"""What this machine can do, found by looking and by trying; which labs follow from it.

Nothing here changes the machine: what has to be tried is tried in throw-away namespaces.
"""

# The checks put themselves into the registry.
import harness.doctor.checks  # noqa: F401
from harness.doctor.check import REGISTRY, Check, Finding, make_checks
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
    """Make every check and draw the conclusions; takes a few seconds (a guest is booted)."""
    machine = machine or this_machine()
    return diagnose(make_checks(machine, REGISTRY), root=machine.root)
