"""The harness's own pytest options: declared, read, and held against what can be meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.engine import resolve
from harness.errors import UsageError
from harness.lab import Topology
from harness.lab.topology import ROLES
from harness.vm.kernels import KERNELS, kernel_suite
from harness.vm.machine import MOST_CPUS, Clock, Machine

if TYPE_CHECKING:
    from harness.faults.topology_file import TopologyFile

LABS = ("auto", "microvm", "namespaces", "dind", "ssh", "vagrant")
DEFAULT_KERNEL = "6.12"

MOST_TRIALS = 10_000
"""Of one scenario in one run: at a minute each, a week of them."""

LEAST_MEMORY, MOST_MEMORY = Machine.memory_mib, 65_536
"""MiB of a guest: the usual, and twenty times that."""

_PLAIN = re.compile(r"\w+")
"""A topology that names nodes and nothing else."""

_LONGEST_NAME = 4096  # PATH_MAX: an engine can be a path


@dataclass(frozen=True)
class Options:
    """What the caller asked for."""

    engines: tuple[str, ...]
    seeds: tuple[int, ...]
    lab: str
    topology: Topology | None
    role_engines: dict[str, str]
    """The engines of roles, where ``--engine`` gave each its own."""
    controls: bool
    thorough: bool
    reports: Path
    attach: Path | None
    into: Path | None
    kernel: str
    clock: Clock
    cpus: int | None
    memory: int | None
    """MiB of a guest."""
    inventory: Path | None = None
    reuse: bool = False
    audit: float = 0.0
    capture: bool = False
    topology_file: TopologyFile | None = None
    """What the topology is from, if a file was given."""


def declare(parser: pytest.Parser) -> None:
    """Add the options to pytest's own."""
    group = parser.getgroup("swarm-chaos", "swarm chaos")
    group.addoption(
        "--engine",
        action="append",
        metavar="NAME",
        help="Docker Engine: a version, stable, oldest, newest, or dir:PATH; may be repeated or "
        "a list with commas (default: stable; `swarm-chaos engines` lists them); "
        "20.10.24:managers,28.5.2:workers is one swarm of both",
    )
    group.addoption("--seed", metavar="N", default="1", help="seed of the first trial (default: 1)")
    group.addoption(
        "--trials",
        metavar="N",
        default="1",
        help="trials of each scenario, with seeds counting up (default: 1)",
    )
    group.addoption(
        "--lab", metavar="LAB", default="auto", help=f"where nodes live: {', '.join(LABS)}"
    )
    group.addoption(
        "--inventory",
        metavar="FILE",
        help="the machines of the ssh lab, as TOML lists them",
    )
    group.addoption(
        "--topology",
        metavar="3m2w1s",
        help="managers, workers, spares, instead of what each scenario asks for; "
        "3m2w,w1=20.10.24 gives a node another engine; FILE.toml has labels, limits, links, too",
    )
    group.addoption(
        "--controls",
        action="store_true",
        help="run the controls too: swarms broken on purpose, in which the check must fail",
    )
    group.addoption(
        "--thorough",
        action="store_true",
        help="run every case of a scenario, not only the default ones",
    )
    group.addoption(
        "--strict-needs",
        action="store_true",
        help="exit with 2 if a scenario was skipped because the kernel lacks what it needs",
    )
    group.addoption(
        "--shard",
        metavar="N/M",
        help="run the N-th of M parts: each of M machines runs one, with the same other options",
    )
    group.addoption(
        "--shard-times",
        metavar="RUN",
        help="a stored run, the same on all machines: its trials' times balance the parts",
    )
    group.addoption(
        "--reports", metavar="DIR", default="reports", help="where runs land (default: reports)"
    )
    group.addoption(
        "--kernel",
        metavar="VERSION",
        default=DEFAULT_KERNEL,
        help=f"the guest's kernel: {', '.join(KERNELS)} (default: {DEFAULT_KERNEL}; microvm lab)",
    )
    group.addoption(
        "--clock",
        metavar="CLOCK",
        default=Clock.VIRTUAL.value,
        help="virtual: repeatable, independent of the machine; real: as fast as it goes "
        "(default: virtual; microvm lab)",
    )
    group.addoption(
        "--cpus",
        metavar="N",
        help=f"a guest's CPUs, up to {MOST_CPUS} (default: 1 in virtual time, else the host's; "
        "microvm lab)",
    )
    group.addoption(
        "--memory",
        metavar="MIB",
        help=f"a guest's memory, {LEAST_MEMORY} MiB or more (default: {LEAST_MEMORY}; microvm lab)",
    )
    group.addoption(
        "--reuse",
        action="store_true",
        help="take the results of trials that were run before with the same inputs, in virtual "
        "time (microvm lab)",
    )
    group.addoption(
        "--audit",
        metavar="SHARE",
        help="with --reuse: run this share of the reused trials again, from 0 to 1; one that is "
        "not byte-identical is unknown (default: 0)",
    )
    group.addoption(
        "--capture-packets",
        action="store_true",
        help="have tcpdump capture what each node sends and gets, into the trial's captures/ "
        "(microvm and namespaces lab)",
    )
    # How the host's pytest calls the one in a guest; nothing for people.
    group.addoption("--lab-attach", metavar="DIR", help="(internal)")
    group.addoption("--trial-into", metavar="DIR", help="(internal)")


def _engines(names: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the engines that trials are multiplied by, and those of roles in each of them."""
    for name in names:
        if len(name) > _LONGEST_NAME:
            raise UsageError(f"--engine {name[:40]}…: no engine has a name this long")
    split = [name.rpartition(":") for name in names]
    by_role = {role: engine for engine, _, role in split if role in ROLES and engine}
    for name in by_role.values() or names:
        resolve(name)
    if not by_role:
        return tuple(dict.fromkeys(names)), {}
    if len(by_role) < len(names) or "managers" not in by_role:
        raise UsageError(
            f"--engine {','.join(names)} gives some roles an engine and leaves others open",
            hint="give each role one, once, managers too: 20.10.24:managers,28.5.2:workers",
        )
    return (by_role.pop("managers"),), by_role


def _topology(
    written: str | None, folder: Path
) -> tuple[Topology, TopologyFile | None] | tuple[None, None]:
    if written is None:
        return None, None
    if _PLAIN.fullmatch(written):  # a guest need not import what reads files
        return Topology.parse(written), None
    from harness.faults.topology_file import given_topology

    return given_topology(written, folder)


def read(config: pytest.Config) -> Options:
    """Return the options as meant; :class:`UsageError` for what cannot be."""
    written = config.getoption("--engine") or ["stable"]
    engines, role_engines = _engines([n.strip() for each in written for n in each.split(",")])
    lab = config.getoption("--lab")
    if lab not in LABS:
        raise UsageError(f"there is no lab {lab!r}", hint=f"labs are: {', '.join(LABS)}")
    first = _whole("--seed", config.getoption("--seed"), least=0)
    trials = _whole("--trials", config.getoption("--trials"), least=1, most=MOST_TRIALS)
    topology, file = _topology(config.getoption("--topology"), Path(config.invocation_params.dir))
    if file is not None:
        file, role_engines = file.with_engines(role_engines), {}
        asked = engines if config.getoption("--engine") else ()
        engines = tuple(file.default_engine(asked)) or engines
    attach = config.getoption("--lab-attach")
    into = config.getoption("--trial-into")
    return Options(
        engines=engines,
        seeds=tuple(range(first, first + trials)),
        lab=lab,
        topology=topology if file is None else file.topology,
        role_engines=role_engines,
        controls=config.getoption("--controls"),
        thorough=config.getoption("--thorough"),
        reports=Path(config.invocation_params.dir, config.getoption("--reports")),
        attach=Path(attach) if attach else None,
        into=Path(into) if into else None,
        kernel=_kernel(config.getoption("--kernel")),
        clock=_clock(config.getoption("--clock")),
        cpus=_cpus(config.getoption("--cpus")),
        memory=_memory(config.getoption("--memory")),
        inventory=_inventory(config.getoption("--inventory"), lab),
        reuse=config.getoption("--reuse"),
        audit=_audit(config.getoption("--audit"), reuse=config.getoption("--reuse")),
        capture=_capture(wanted=config.getoption("--capture-packets"), lab=lab),
        topology_file=file,
    )


def _capture(*, wanted: bool, lab: str) -> bool:
    if wanted and lab not in ("auto", "microvm", "namespaces"):
        raise UsageError(
            f"--capture-packets: nothing listens between the nodes of the {lab} lab",
            hint="use --lab microvm or --lab namespaces",
        )
    return wanted


def _inventory(written: str | None, lab: str) -> Path | None:
    if written is None:
        return None
    if lab != "ssh":
        raise UsageError(
            f"--inventory lists machines, and the lab {lab} has none",
            hint="add --lab ssh, or leave it away",
        )
    return Path(written)


def _kernel(written: str) -> str:
    kernel_suite(written)
    return written


def _clock(written: str) -> Clock:
    try:
        return Clock(written)
    except ValueError:
        known = ", ".join(clock.value for clock in Clock)
        raise UsageError(f"there is no clock {written!r}", hint=f"clocks are: {known}") from None


def _cpus(written: str | None) -> int | None:
    if written is None:
        return None
    number = _whole("--cpus", written, least=1)
    if number > MOST_CPUS:
        raise UsageError(f"--cpus {number} is too much", hint=f"at most {MOST_CPUS}")
    return number


def _memory(written: str | None) -> int | None:
    if written is None:
        return None
    number = _whole("--memory", written, least=LEAST_MEMORY)
    if number > MOST_MEMORY:
        raise UsageError(f"--memory {number} is too much", hint=f"at most {MOST_MEMORY}")
    return number


def _audit(written: str | None, *, reuse: bool) -> float:
    if written is None:
        return 0.0
    try:
        share = float(written)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"--audit: {written!r} is not a valid share", hint="give 0 to 1")
    if not reuse:
        raise UsageError("--audit needs --reuse", hint="without it every trial is run anyway")
    return share


def _whole(option: str, written: str, *, least: int, most: int | None = None) -> int:
    try:
        number = int(written)
    except ValueError:
        raise UsageError(f"{option}: {written[:40]!r} is not a whole number") from None
    if number < least:
        raise UsageError(f"{option} {number} is too small", hint=f"at least {least}")
    if most is not None and number > most:
        raise UsageError(f"{option} {number} is too many", hint=f"at most {most}")
    return number
