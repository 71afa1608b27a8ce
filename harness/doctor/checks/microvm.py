"""Which QEMU guests run under, and whether one truly boots under KVM."""

from __future__ import annotations

import re
from pathlib import Path

from harness.doctor.check import Finding, check
from harness.doctor.machine import Machine
from harness.doctor.packages import apt_line_for
from harness.errors import UsageError
from harness.images import Cache
from harness.images.debian_qemu import SUITE, cached_qemu, debian_qemu_fits
from harness.images.kernel import KIND, DebianKernel, debian_kernel
from harness.vm.kvm import kvm_boots
from harness.vm.qemu_binary import own_qemu

DEVICE = Path("/dev/kvm")


@check("QEMU", "microVM", needed_for="the microVM lab")
def look_at_qemu(machine: Machine) -> Finding:
    try:
        own = own_qemu()
    except UsageError as error:
        return Finding("missing", error.what, error.hint or "")
    if own is not None:
        return Finding("ok", f"{own.version} ({own.command[0]}, by SWARM_CHAOS_QEMU)")
    cached = cached_qemu(Cache(machine.cache))
    if cached is not None:
        answer = machine.ask([*cached.command, "--version"], within=10)
        if answer.code == 0 and re.search(r"version \d", answer.said):
            return Finding("ok", f"{cached.version} (Debian {SUITE}'s, cached)")
        return Finding(
            "unknown",
            f"{cached.folder} does not run: {answer.last_line}",
            "may programs run from the cache's folder? SWARM_CHAOS_CACHE names another",
        )
    if not debian_qemu_fits():
        return Finding(
            "missing",
            "this is no x86-64 machine, and QEMU is fetched for no other",
            "name a QEMU of your own by SWARM_CHAOS_QEMU",
        )
    if machine.find("mmdebstrap") is None:
        return Finding("missing", "nothing to fetch it with", apt_line_for("mmdebstrap"))
    return Finding("ok", f"Debian {SUITE}'s, fetched when it is first needed")


@check("KVM", "microVM", needed_for="--clock real at full speed; virtual time does without")
def look_at_kvm(machine: Machine) -> Finding:
    if not DEVICE.exists():
        return Finding("degraded", f"no {DEVICE}: emulation is used instead")
    # Never trust the device node: there are hosts where it opens and no guest gets far.
    cache = Cache(machine.cache)
    kernel = cached_kernel(cache)
    if kernel is None or not qemu_is_here(cache):
        what = "kernel" if kernel is None else "QEMU"
        return Finding(
            "unknown",
            f"{DEVICE} is there; not tried, for no guest's {what} is cached yet",
            "ask again after the first run in a microVM",
        )
    verdict = kvm_boots(kernel, cache)
    if verdict.boots:
        return Finding("ok", verdict.reason)
    return Finding("degraded", f"no guest boots, emulation is used instead: {verdict.reason}")


def qemu_is_here(cache: Cache) -> bool:
    """Whether guests could start with no QEMU to be fetched first."""
    return own_qemu() is not None or cached_qemu(cache) is not None


def cached_kernel(cache: Cache) -> DebianKernel | None:
    """A guest's kernel that is there already: a doctor downloads nothing."""
    for entry in cache.entries():
        suite = entry.manifest.note.get("suite")
        if entry.manifest.kind == KIND and isinstance(suite, str):
            return debian_kernel(suite, cache)
    return None
