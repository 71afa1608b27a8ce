"""Which QEMU runs the guests, and whether one really boots under KVM."""

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
def check_qemu(machine: Machine) -> Finding:
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
            "is the cache's folder mounted noexec? SWARM_CHAOS_CACHE sets another",
        )
    if not debian_qemu_fits():
        return Finding(
            "missing",
            "QEMU is fetched for x86-64 only, and this machine is not",
            "set SWARM_CHAOS_QEMU to a QEMU of your own",
        )
    if machine.find("mmdebstrap") is None:
        return Finding(
            "missing", "cannot be fetched: mmdebstrap is not installed", apt_line_for("mmdebstrap")
        )
    return Finding("ok", f"Debian {SUITE}'s, fetched when it is first needed")


@check("KVM", "microVM", needed_for="--clock real at full speed; virtual time does not need it")
def check_kvm(machine: Machine) -> Finding:
    if not DEVICE.exists():
        return Finding("degraded", f"there is no {DEVICE}: emulation is used instead")
    # The device alone proves nothing: on some hosts it opens and no guest boots.
    cache = Cache(machine.cache)
    kernel = cached_kernel(cache)
    if kernel is None or not qemu_is_here(cache):
        what = "kernel" if kernel is None else "QEMU"
        return Finding(
            "unknown",
            f"{DEVICE} exists; not tried, since no guest's {what} is cached yet",
            "run the doctor again after the first run in a microVM",
        )
    verdict = kvm_boots(kernel, cache)
    if verdict.boots:
        return Finding("ok", verdict.reason)
    return Finding("degraded", f"no guest boots, emulation is used instead: {verdict.reason}")


def qemu_is_here(cache: Cache) -> bool:
    """Return whether guests could start without fetching QEMU first."""
    return own_qemu() is not None or cached_qemu(cache) is not None


def cached_kernel(cache: Cache) -> DebianKernel | None:
    """Return a guest's kernel that is cached, None without one: nothing is downloaded here."""
    for entry in cache.entries():
        suite = entry.manifest.note.get("suite")
        if entry.manifest.kind == KIND and isinstance(suite, str):
            return debian_kernel(suite, cache)
    return None
