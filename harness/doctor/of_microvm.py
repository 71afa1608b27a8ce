"""QEMU, and whether a guest truly boots under KVM."""

from __future__ import annotations

import re
from pathlib import Path

from harness.doctor.check import Finding, check
from harness.doctor.machine import Machine
from harness.doctor.packages import apt_line_for
from harness.images import Cache, DebianKernel, debian_kernel
from harness.images.kernel import KIND
from harness.microvm import kvm_boots

QEMU = "qemu-system-x86_64"
DEVICE = Path("/dev/kvm")


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
    if not DEVICE.exists():
        return Finding("degraded", f"no {DEVICE}: emulation is used instead")
    if machine.find(QEMU) is None:
        return Finding("unknown", "not tried: no QEMU to boot a guest with", apt_line_for(QEMU))
    # Never trust the device node: there are hosts where it opens and no guest gets far.
    cache = Cache(machine.cache)
    kernel = cached_kernel(cache)
    if kernel is None:
        return Finding(
            "unknown",
            f"{DEVICE} is there; not tried, for no guest's kernel is cached yet",
            "ask again after the first run in a microVM",
        )
    verdict = kvm_boots(kernel, cache)
    if verdict.boots:
        return Finding("ok", verdict.reason)
    return Finding("degraded", f"no guest boots, emulation is used instead: {verdict.reason}")


def cached_kernel(cache: Cache) -> DebianKernel | None:
    """A guest's kernel that is there already: a doctor downloads nothing."""
    for entry in cache.entries():
        suite = entry.manifest.note.get("suite")
        if entry.manifest.kind == KIND and isinstance(suite, str):
            return debian_kernel(suite, cache)
    return None
