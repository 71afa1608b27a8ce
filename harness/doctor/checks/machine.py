"""The user, and the machine's cores, memory and disks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil

from harness.doctor.check import Finding, check
from harness.doctor.machine import Machine, nearest_folder
from harness.doctor.packages import apt_line
from harness.files import human_size

GIB = 1 << 30

MEMORY_FOR_A_GUEST = 2 * GIB
"""Bytes that building and running one frozen swarm of five nodes takes."""
MEMORY_ADVISED = 4 * GIB
"""Bytes that are enough for two guests, or for one and a desktop."""
CACHE_NEEDED = 3 * GIB
"""Bytes for one engine in both its forms, the guest and one snapshot."""
CACHE_ADVISED = 12 * GIB
"""Bytes for all engines of the default set."""
LABS_NEEDED = 2 * GIB
"""Bytes for the files of a lab of twenty nodes."""
REPORTS_NEEDED = GIB // 4


@check("user", "machine", needed_for="root: the namespaces lab; the microVM lab needs none")
def check_user(machine: Machine) -> Finding:
    if machine.root:
        return Finding("ok", "root")
    return Finding("degraded", f"ordinary user {machine.user}", "run it as root, or under sudo")


@check("cores", "machine", needed_for="all labs; one guest per core")
def check_cores(_machine: Machine) -> Finding:
    cores = len(os.sched_getaffinity(0))
    if cores >= 2:
        return Finding("ok", f"{cores}")
    return Finding("degraded", f"{cores}: load, nodes and probes share it", "use 2 or more")


@check("memory", "machine", needed_for="all labs; a guest takes up to 3 GiB")
def check_memory(_machine: Machine) -> Finding:
    memory = psutil.virtual_memory()
    seen = f"{human_size(memory.available)} free of {human_size(memory.total)}"
    if memory.available < MEMORY_FOR_A_GUEST:
        return Finding("missing", seen, f"free {human_size(MEMORY_FOR_A_GUEST)} or more")
    if memory.available < MEMORY_ADVISED:
        return Finding("degraded", seen, f"{human_size(MEMORY_ADVISED)} free are recommended")
    return Finding("ok", seen)


@check("disk for the cache", "machine", needed_for="engines, guests and snapshots")
def check_cache_disk(machine: Machine) -> Finding:
    return _disk(machine.cache, CACHE_NEEDED, CACHE_ADVISED, "set SWARM_CHAOS_CACHE elsewhere")


@check("disk for labs", "machine", needed_for="the files of nodes while a lab runs")
def check_labs_disk(machine: Machine) -> Finding:
    return _disk(machine.labs, LABS_NEEDED, LABS_NEEDED, "set SWARM_CHAOS_LABS elsewhere")


@check("disk for reports", "machine", needed_for="what a run leaves behind")
def check_reports_disk(machine: Machine) -> Finding:
    return _disk(machine.reports, REPORTS_NEEDED, REPORTS_NEEDED, "run from a larger disk")


@check("user namespaces", "machine", needed_for="building engines and guests as an ordinary user")
def check_user_namespaces(machine: Machine) -> Finding:
    unshare = machine.find("unshare")
    if unshare is None:
        return Finding(
            "unknown", "cannot be tried: unshare is not installed", apt_line("util-linux")
        )
    # With a mount: some systems allow user namespaces but no mounts in them.
    argv = [unshare, "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "x", "/tmp"]
    answer = machine.ask(argv, within=10)
    if answer.code == 0:
        return Finding("ok", "works")
    if machine.root:
        return Finding("degraded", answer.last_line, "root builds without them")
    return Finding(
        "missing",
        answer.last_line,
        "as root: sysctl -w kernel.unprivileged_userns_clone=1 (Debian) or "
        "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu)",
    )


@check("subordinate ids", "machine", needed_for="building engines and guests as an ordinary user")
def check_subordinate_ids(machine: Machine) -> Finding:
    if machine.root:
        return Finding("ok", "not needed by root")
    without = [
        name
        for name in ("subuid", "subgid")
        if not has_range(_text(Path("/etc", name)), machine.user, os.geteuid())
    ]
    if without:
        return Finding(
            "missing",
            f"no range for {machine.user} in " + " and ".join(f"/etc/{n}" for n in without),
            f"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "
            f"{machine.user}",
        )
    if machine.find("newuidmap") is None:
        return Finding("missing", "ranges, but newuidmap is not installed", apt_line("uidmap"))
    return Finding("ok", f"ranges for {machine.user}")


def has_range(text: str, user: str, uid: int) -> bool:
    """Return whether an ``/etc/subuid``-like text gives ``user`` a range of at least 65536 ids."""
    for line in text.splitlines():
        match line.strip().split(":"):
            case [who, _, count] if who in (user, str(uid)) and count.isdecimal():
                if int(count) >= 65536:
                    return True
    return False


def _disk(folder: Path, needed: int, advised: int, todo: str) -> Finding:
    free = shutil.disk_usage(nearest_folder(folder)).free
    seen = f"{human_size(free)} free at {folder}"
    if free < needed:
        return Finding("missing", seen, f"free {human_size(needed)}, or {todo}")
    if free < advised:
        return Finding("degraded", seen, f"{human_size(advised)} are recommended; or {todo}")
    return Finding("ok", seen)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
