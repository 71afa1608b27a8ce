"""The Docker Engine whose containers would be the nodes of the dind lab."""

from __future__ import annotations

from harness.doctor.check import Finding, check
from harness.doctor.machine import Machine
from harness.errors import HarnessError


@check("Docker Engine", "programs", needed_for="the dind lab; no other lab uses or touches it")
def check_docker(_machine: Machine) -> Finding:
    from harness.lab.outer_engine import OuterEngine  # the SDK takes its time

    try:
        outer = OuterEngine.from_environment()
        info = outer.check()
        outer.close()
    except HarnessError as error:
        return Finding("missing", error.what, error.hint or "")
    return Finding("ok", f"{info.get('ServerVersion', '?')} at {outer.socket}")
