"""QEMU, and whether a guest truly boots under KVM."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from harness.doctor.check import Finding, check
from harness.doctor.machine import Machine
from harness.doctor.packages import apt_line_for

QEMU = "qemu-system-x86_64"


@check("QEMU", "microVM", needed_for="the microVM lab")
def look_at_qemu(machine: Machine) -> Finding:
    where = machine.find(QEMU)
    if where is None:
        return Finding("missing", f"no program {QEMU}", apt_line_for(QEMU))
    answer = machine.ask([where, "--version"], within=10)
    found = re.search(r"version (\d+(?:\.\d+)+)", answer.said)
    if answer.code != 0 or found is None:
        return Finding("unknown", f"{where} does not tell its version: {answer.last_line}")
    return Finding("ok", f"{found[1]} ({where})")


@check("KVM", "microVM", needed_for="--clock real at full speed; virtual time does without")
def look_at_kvm(machine: Machine) -> Finding:
    if not Path("/dev/kvm").exists():
        return Finding("degraded", "no /dev/kvm: emulation is used instead")
    if machine.find(QEMU) is None:
        return Finding("unknown", "not tried: no QEMU to boot a guest with", apt_line_for(QEMU))
    # Never trust the device node: there are hosts where it opens and no guest gets far.
    boots = getattr(importlib.import_module("harness.microvm"), "kvm_boots", None)
    if boots is None:
        return Finding("unknown", "/dev/kvm is there; not tried")
    if boots():
        return Finding("ok", "a guest booted under it")
    return Finding("degraded", "/dev/kvm is there but no guest boots: emulation is used instead")
