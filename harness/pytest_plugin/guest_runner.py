"""The microVM lab as pytest sees it: each scenario runs in a thawed guest, and its reports,
warnings and folder come back as the host's run's own.

The guest runs the very same item with ``--lab namespaces``; what its pytest reports is logged
there (:class:`~harness.guest.report_log.ReportLog`) and reported again here.
"""

from __future__ import annotations

import builtins
import os
import random
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from harness.engine import EngineFacts as Engine
from harness.faults.extensions import FIXTURES, extensions
from harness.guest.contract import (
    CLOCK_VARIABLE,
    HOLD_VARIABLE,
    LAB_LINK,
    LAB_VARIABLE,
    PYTEST_ENVIRONMENT,
    REPORTS,
    WARM_VARIABLE,
)
from harness.images import Cache, Say
from harness.images.kernel import debian_kernel
from harness.lab import Topology
from harness.pytest_plugin.markers import deadline_of
from harness.pytest_plugin.trial_request import TrialRequest
from harness.results import RunWriter
from harness.snapshots.byte_diff import compare
from harness.snapshots.job import GuestJob, JobRecord, JobResult, send
from harness.snapshots.kept_results import KeptResults
from harness.snapshots.payload import trial_payload
from harness.snapshots.swarm_snapshot import FrozenSwarm, freeze_swarm
from harness.swarm.swarm import RESEEDED
from harness.swarm.workload import facts_of
from harness.trial import TrialInputs, TrialRecord, read_lines, write_record
from harness.vm.kernels import kernel_suite
from harness.vm.kvm import kvm_boots
from harness.vm.machine import KVM_CPU, MOST_CPUS, Accelerator, Clock, Machine
from harness.vm.pool import Pool, own_mib
from harness.vm.snapshot import Snapshot, set_aside_if_damaged
from harness.vm.thaw import Outcome

CONSOLE = "console.log"

#: Wall seconds per virtual second that are still no reason to give a guest up.
_PATIENCE = 12.0


@dataclass(frozen=True)
class Reuse:
    """Whether results of trials that were run before are taken, and which share is run again."""

    results: KeptResults
    wanted: bool = False
    audit: float = 0.0


@dataclass
class Guests:
    """Runs scenarios in guests; keeps what they share over a session."""

    cache: Cache
    say: Say
    root: Path
    kernel: str
    clock: Clock
    cpus: int | None = None
    memory: int | None = None
    reuse: Reuse | None = None
    _frozen: dict[tuple[str, ...], tuple[Snapshot, Engine]] = field(default_factory=dict)
    _payloads: dict[Path, bytes] = field(default_factory=dict)
    _pool: Pool | None = None

    def frozen(
        self, engine: str, topology: Topology, others: tuple[str, ...] = ()
    ) -> tuple[Snapshot, Engine]:
        """Return the snapshot for a trial, frozen now if it must be."""
        known = (engine, repr(topology), *others)
        if known not in self._frozen:
            wanted = FrozenSwarm(engine, topology, self.kernel, self.machine(), others)
            self._frozen[known] = freeze_swarm(wanted, self.cache, say=self.say)
        return self._frozen[known]

    def frozen_again(self, snapshot: Snapshot) -> bool:
        """Return whether a guest failed for a damaged snapshot, which is then frozen anew.

        All of it is read, a second or two.
        """
        damaged = set_aside_if_damaged(snapshot, say=self.say)
        if damaged:
            self._frozen.clear()
        return damaged

    def machine(self) -> Machine:
        """Return the guests' hardware: one emulated CPU in virtual time, else what there is.

        Unless a number of CPUs, or of MiB, was asked for.
        """
        memory_mib = self.memory or Machine.memory_mib
        if self.clock is Clock.VIRTUAL:
            return Machine(clock=self.clock, cpus=self.cpus or 1, memory_mib=memory_mib)
        kernel = debian_kernel(kernel_suite(self.kernel), self.cache, say=self.say)
        boots = kvm_boots(kernel, self.cache, say=self.say).boots
        return Machine(
            clock=self.clock,
            accelerator=Accelerator.KVM if boots else Accelerator.TCG,
            cpu=KVM_CPU if boots else Machine.cpu,
            cpus=self.cpus or min(MOST_CPUS, max(2, len(os.sched_getaffinity(0)))),
            memory_mib=memory_mib,
        )

    def payload(self, item: pytest.Item) -> bytes:
        """Return the code under test: harness, set-up, the scenario's folder, its helpers."""
        folder = item.path.parent.relative_to(self.root)
        if folder not in self._payloads:
            self._payloads[folder] = trial_payload(
                self.root,
                [str(folder)],
                self.cache,
                python_path=item.config.getini("pythonpath"),
                say=self.say,
            )
        return self._payloads[folder]

    def pool(self) -> Pool:
        """Return the CPUs that guests may have."""
        if self._pool is None:
            self._pool = Pool(guest_mib=own_mib(self.memory or Machine.memory_mib))
        return self._pool


@dataclass(frozen=True)
class Assignment:
    """One item to be run in a guest."""

    item: pytest.Item
    request: TrialRequest
    topology_given: bool
    """Whether the topology is the command line's, so that the guest has to be given it."""

    def args(self) -> tuple[str, ...]:
        """Return what the guest's pytest is called with."""
        request, point = self.request, self.request.point
        written = request.file.text if request.file else request.topology
        return (
            self.item.nodeid,
            *("-q", "--no-header", "--no-summary", "-p", "no:cacheprovider"),
            *("-p", "harness.pytest_plugin"),  # no entry points are looked for in a guest
            *(word for entry in extensions(FIXTURES) for word in ("-p", entry.module)),
            *("--lab=namespaces", f"--lab-attach={LAB_LINK}"),
            *(f"--engine={point.engine}", f"--seed={point.seed}"),
            *([f"--topology={written}"] if self.topology_given else []),
            *([f"--cpus={request.cpus}"] if request.cpus is not None else []),
            *([f"--memory={request.memory}"] if request.memory is not None else []),
            *(["--capture-packets"] if request.capture else []),
            *(["--controls"] if request.control else []),
            *(["--thorough"] if self.item.get_closest_marker("thorough") else []),
        )


def run_in_guest(
    assignment: Assignment, guests: Guests, run: RunWriter, say: Say
) -> Iterator[pytest.TestReport]:
    """Run one item in a guest; yield its reports, as this pytest's own.

    The trial's folder ends up in the run. A guest that did not come to its end makes the trial
    unknown, with the console's end in the report.
    """
    request = assignment.request
    snapshot, engine = guests.frozen(request.point.engine, request.topology, request.others)
    inputs = request.inputs(engine, lab="microvm", kernel=guests.kernel, clock=guests.clock.value)
    folder = run.trial_folder(inputs)
    incoming = run.incoming(folder.name)
    deadline = deadline_of(assignment.item)
    warm_up = warm_up_of(request, guests.clock)
    job = GuestJob(
        trial=folder.name,
        args=assignment.args(),
        payload=guests.payload(assignment.item),
        seed=inputs.seed,
        environment={
            CLOCK_VARIABLE: inputs.clock,
            LAB_VARIABLE: inputs.lab,
            HOLD_VARIABLE: "0",
            WARM_VARIABLE: "0" if warm_up is None else "1",
            **PYTEST_ENVIRONMENT,
        },
        virtual_deadline=deadline,
        wall_deadline=deadline * _PATIENCE,
        warm_up=warm_up,
    )
    say(f"trial {folder.name}")
    try:
        sent, reused, differs = _send_or_reuse(job, snapshot, guests, incoming, say)
        if sent.result.exit_code is None and guests.frozen_again(snapshot):
            shutil.rmtree(incoming)
            snapshot, _ = guests.frozen(request.point.engine, request.topology, request.others)
            sent, reused, differs = _send_or_reuse(job, snapshot, guests, incoming, say)
        reports = _take_in(assignment, inputs, sent, folder)
        if differs is not None:
            reports = [unknown_report(assignment.item, folder.name, differs)]
        if (folder / "trial.json").exists():
            replace(JobRecord.of(job, snapshot), reused=reused).save(folder)
        else:  # the scenario skipped itself and has nothing to say
            run.drop(folder.name)
        yield from reports
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _send_or_reuse(
    job: GuestJob, snapshot: Snapshot, guests: Guests, into: Path, say: Say
) -> tuple[JobResult, bool, str | None]:
    """Return the job's result, whether it is a kept one, and how an audit of that came out.

    The latter is None unless the trial was run again and is not byte-identical.
    """
    reuse = guests.reuse
    if reuse is None or guests.clock is not Clock.VIRTUAL:
        return send(job, snapshot, guests.pool(), into, watch=say), False, None
    key = reuse.results.key(job, snapshot)
    kept = reuse.results.take(key, job, into) if reuse.wanted else None
    if kept is None:
        sent = send(job, snapshot, guests.pool(), into, watch=say)
        reuse.results.keep(key, sent)
        return sent, False, None
    audited = random.random() < reuse.audit
    say(f"reused: run before with the same inputs{', to be run again' if audited else ''}")
    if not audited:
        return kept, True, None
    again = into.with_name(f"{into.name}.again")
    try:
        sent = send(job, snapshot, guests.pool(), again, watch=say)
        return kept, True, _audited(kept, sent)
    finally:
        shutil.rmtree(again, ignore_errors=True)


def _audited(kept: JobResult, again: JobResult) -> str | None:
    """Return how a reused trial differs from what was run again; None if it is byte-identical."""
    if again.folder is None or kept.folder is None:
        return f"run again, the reused trial did not finish: {again.result.detail}"
    of_trial = compare(kept.folder, again.folder)
    difference = of_trial or compare(kept.result.folder, again.result.folder)
    if difference is None:
        return None
    return f"run again, the reused trial is not byte-identical: {difference}"


def warm_up_of(request: TrialRequest, clock: Clock) -> dict[str, Any] | None:
    """Return what a trial's swarm is brought to before it is thawed; None if that is not worth it.

    In real time a guest is not the same twice, so it does all of it itself.
    """
    if request.file is not None and not request.file.is_bare:
        return None  # a workload is deployed on what the file says, so that comes first
    serving = request.serving
    reseed = request.topology.managers >= RESEEDED
    if clock is not Clock.VIRTUAL or (serving is None and not reseed):
        return None
    serves = None if serving is None else facts_of(serving)
    return {"seed": request.point.seed, "reseed": reseed, "serving": serves}


def _take_in(
    assignment: Assignment, inputs: TrialInputs, sent: JobResult, folder: Path
) -> list[pytest.TestReport]:
    if sent.folder is not None:
        sent.folder.replace(folder)
    shutil.move(sent.result.console, folder / CONSOLE)
    entries = list(_entries(sent.result.folder / REPORTS))
    item = assignment.item
    for entry in entries:
        if "warning" in entry:
            _warn_again(item, entry)
    if sent.result.out_of_step:
        _record_warning(
            item,
            UserWarning(
                f"{folder.name}: QEMU's main loop could not wait for its turn, "
                f"{sent.result.out_of_step} times; a replay of this trial may differ"
            ),
        )
    reports = [_report_again(item, entry["report"]) for entry in entries if "report" in entry]
    ended = sent.result.outcome is Outcome.FINISHED and any(r.when == "teardown" for r in reports)
    if ended:
        return reports
    uncollected = [entry["uncollected"] for entry in entries if "uncollected" in entry]
    why = sent.result.detail or f"the guest's pytest ended with {sent.result.exit_code}"
    if not (folder / "trial.json").exists():
        write_record(
            folder,
            TrialRecord(
                id=folder.name,
                inputs=inputs,
                verdict="unknown",
                reason=why,
                seconds=sent.result.virtual_seconds,
            ),
        )
    lines = [why, *uncollected, f"the end of its console:\n{sent.result.console_tail}"]
    return [unknown_report(item, folder.name, "\n".join(lines))]


def unknown_report(item: pytest.Item, trial: str, why: str) -> pytest.TestReport:
    """Return a report that says that nothing can be said, and why."""
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="failed",
        longrepr=why,
        when="call",
        user_properties=[
            ("outcome", "unknown"),
            ("verdict", "unknown"),
            *([("trial", trial)] if trial else []),
        ],
    )


def closing_report(item: pytest.Item, last: pytest.TestReport) -> pytest.TestReport:
    """Return the tear-down's report of an item whose guest sent none.

    JUnit reads the properties of a test case off it.
    """
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="passed",
        longrepr=None,
        when="teardown",
        user_properties=last.user_properties,
    )


def _report_again(item: pytest.Item, data: dict[str, Any]) -> pytest.TestReport:
    report: pytest.TestReport = item.config.hook.pytest_report_from_serializable(
        config=item.config, data=data
    )
    # JSON knows no tuples, and those who read properties expect them.
    report.user_properties = [(name, value) for name, value in report.user_properties]
    return report


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from read_lines(path)


def _warn_again(item: pytest.Item, entry: dict[str, Any]) -> None:
    warning = entry["warning"]
    category = getattr(builtins, warning["category"], UserWarning)
    _record_warning(
        item,
        category(warning["text"]),
        place=(warning["filename"], warning["lineno"]),
        nodeid=entry["nodeid"],
        when=entry["when"],
        location=tuple(entry["location"]) if entry["location"] else None,
    )


def _record_warning(
    item: pytest.Item,
    warning: Warning,
    *,
    place: tuple[str, int] | None = None,
    nodeid: str = "",
    when: str = "runtest",
    location: tuple[Any, ...] | None = None,
) -> None:
    """Have pytest show a warning with the others at the end, whatever its filters say."""
    filename, line = place or (item.location[0], item.location[1] or 0)
    message = warnings.WarningMessage(warning, type(warning), filename, line)
    item.ihook.pytest_warning_recorded.call_historic(
        kwargs={
            "warning_message": message,
            "nodeid": nodeid or item.nodeid,
            "when": when,
            "location": location,
        }
    )
