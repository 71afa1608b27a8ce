"""Which labs follow from the checks, and which of them ``--lab auto`` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.doctor.check import Check
from harness.lab.features import NEEDED_BY_NAMESPACES

LabName = Literal["microvm", "namespaces", "dind", "ssh", "vagrant"]

NEEDS: Mapping[LabName, Sequence[str]] = {
    "microvm": (
        "QEMU",
        *("mmdebstrap", "fakeroot", "mke2fs", "depmod", "setpriv", "taskset"),
        "memory",
        "disk for the cache",
    ),
    "namespaces": (
        "user",
        *NEEDED_BY_NAMESPACES,
        "cgroups",
        *("mmdebstrap", "unshare", "nsenter", "mount", "pivot_root", "ip"),
        "disk for the cache",
        "disk for labs",
    ),
    "dind": (
        "user",
        "Docker Engine",
        *NEEDED_BY_NAMESPACES,
        *("unshare", "nsenter", "mount", "ip"),
        "disk for the cache",
        "disk for labs",
    ),
    "ssh": (
        "user",
        *NEEDED_BY_NAMESPACES,
        *("mmdebstrap", "ssh", "unshare", "nsenter", "mount", "ip", "nft"),
        "disk for the cache",
        "disk for labs",
    ),
    "vagrant": (
        "user",
        *NEEDED_BY_NAMESPACES,
        *("vagrant", "mmdebstrap", "ssh", "unshare", "nsenter", "mount", "ip", "nft"),
        "disk for the cache",
        "disk for labs",
    ),
}
"""The checks that each lab depends on, for the labs of this version."""

ONLY_ORDINARY_USERS: Mapping[LabName, Sequence[str]] = {
    "microvm": ("user namespaces", "subordinate ids"),
}
"""What a lab needs besides when the user is not root."""

AUTO: Sequence[LabName] = ("microvm", "namespaces")
"""What ``--lab auto`` tries, in this order."""


@dataclass(frozen=True)
class LabFinding:
    """Whether a lab can run here; ``because`` and ``todo`` say why not and what helps."""

    name: LabName
    works: bool
    because: str
    todo: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """All checks, the labs that follow, and the one ``auto`` takes (None: no lab can run)."""

    checks: tuple[Check, ...]
    labs: tuple[LabFinding, ...]
    auto: LabName | None


def diagnose(checks: Sequence[Check], *, root: bool) -> Diagnosis:
    """Conclude which labs can run. ``auto`` is the first lab of :data:`AUTO` that can run."""
    by_name = {check.name: check for check in checks}
    labs: list[LabFinding] = []
    for name, needs in NEEDS.items():
        extra = () if root else ONLY_ORDINARY_USERS.get(name, ())
        lacking = [
            check
            for need in (*needs, *extra)
            if not _serves(check := by_name[need], strict=need == "user")
        ]
        labs.append(
            LabFinding(
                name,
                works=not lacking,
                because="; ".join(f"{check.name}: {check.seen}" for check in lacking),
                todo=tuple(dict.fromkeys(check.todo for check in lacking if check.todo)),
            )
        )
    auto = next((name for name in AUTO for lab in labs if lab.name == name and lab.works), None)
    return Diagnosis(tuple(checks), tuple(labs), auto)


def _serves(check: Check, *, strict: bool) -> bool:
    # Degraded is good enough to run, except that an ordinary user is not root.
    return check.state == "ok" or (check.state == "degraded" and not strict)
