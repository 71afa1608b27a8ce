"""The outer pytest's side of a guest: what is sent, what comes home, and guests that break."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.engine import EngineFacts
from harness.images import Cache
from harness.lab import Topology
from harness.pytest_plugin import guest_runner
from harness.pytest_plugin.guest_runner import Assignment, Guests, run_in_guest
from harness.pytest_plugin.markers import TrialPoint
from harness.pytest_plugin.trial_request import TrialRequest
from harness.results import RunWriter, read_run
from harness.snapshots.job import GuestJob, JobResult
from harness.vm.machine import Clock
from harness.vm.seal import seal
from harness.vm.snapshot import Snapshot
from harness.vm.thaw import GuestResult, Outcome

ENGINE = EngineFacts(
    name="stable",
    version="26.1.5",
    source="debian:trixie",
    digest="d" * 64,
    dockerd="/usr/sbin/dockerd",
    path="/usr/bin",
    cgroups="v2",
    containerd="1.7.24",
    cli="26.1.5",
)


@pytest.fixture
def item(request: pytest.FixtureRequest) -> pytest.Function:
    """This very test stands in for a scenario: it has a node id, a path and pytest's hooks."""
    result: pytest.Function = request.node
    return result


@pytest.fixture
def guests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guests:
    guests = Guests(Cache(tmp_path / "cache"), print, Path.cwd(), "6.12", Clock.VIRTUAL)
    snapshot = Snapshot(tmp_path / "snapshot-key")
    snapshot.folder.mkdir()
    seal(snapshot.folder, {"facts": {"qemu": "10.0", "machine": {}}, "frozen_at": 0.0})
    monkeypatch.setattr(Guests, "frozen", lambda *_: (snapshot, ENGINE))
    monkeypatch.setattr(Guests, "payload", lambda *_: b"code")
    monkeypatch.setattr(Guests, "pool", lambda *_: None)
    return guests


def assignment(item: pytest.Function, **changes: bool) -> Assignment:
    given = changes.pop("topology_given", False)
    facts: Any = {
        "scenario": "scenarios/test_x.py::test_x",
        "point": TrialPoint("stable", 7),
        "topology": Topology(3, 2),
        **changes,
    }
    return Assignment(item, TrialRequest(**facts), topology_given=given)


def guest_that(
    monkeypatch: pytest.MonkeyPatch,
    *,
    outcome: Outcome = Outcome.FINISHED,
    files: Mapping[str, str] | tuple[Any, ...] = (),
    detail: str = "",
    out_of_step: int = 0,
) -> list[Any]:
    """Replace the sending by a guest that leaves ``files`` and ends as told."""
    jobs = []

    def send(
        job: GuestJob, snapshot: Snapshot, pool: None, into: Path, *, watch: Callable[..., Any]
    ) -> JobResult:
        jobs.append(job)
        into.mkdir(parents=True)
        for name, text in dict(files).items():
            path = into / name.format(trial=job.trial)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        console = into / "console.log"
        console.write_text("booting\nKernel panic - not syncing\n")
        result = GuestResult(
            outcome, None, into, console, console.read_text(), 12.5, 60.0, detail, out_of_step
        )
        folder = into / job.trial
        return JobResult(result, folder if folder.is_dir() else None, 0.1)

    monkeypatch.setattr(guest_runner, "send", send)
    return jobs


def report(when: str, outcome: str = "passed") -> str:
    data: dict[str, Any] = {
        "$report_type": "TestReport",
        "nodeid": "scenarios/test_x.py::test_x",
        "location": ["scenarios/test_x.py", 1, "test_x"],
        "keywords": {},
        "outcome": outcome,
        "longrepr": None,
        "when": when,
        "user_properties": [["verdict", "pass"]],
        "sections": [],
        "duration": 1.0,
        "start": 0.0,
        "stop": 1.0,
    }
    return json.dumps({"report": data})


def test_reports_and_folder_come_home(
    item: pytest.Function, guests: Guests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "reports.jsonl": "\n".join(report(when) for when in ("setup", "call", "teardown")) + "\n",
        "{trial}/trial.json": "{}",
        "{trial}/journal.jsonl": "",
    }
    jobs = guest_that(monkeypatch, files=files)
    run = RunWriter.create(tmp_path, command=["pytest"], harness="1")

    reports = list(run_in_guest(assignment(item), guests, run, lambda _: None))

    assert [r.when for r in reports] == ["setup", "call", "teardown"]
    assert reports[1].user_properties == [("verdict", "pass")]
    trial = run.folder / "trials" / "x.26.1.5.3m2w.s7"
    assert {p.name for p in trial.iterdir()} == {
        "trial.json", "journal.jsonl", "console.log", "job.json",
    }  # fmt: skip
    assert jobs[0].seed == 7
    assert "--seed=7" in jobs[0].args
    assert not list((run.folder / "trials").glob(".*")), "nothing half-made is left"


@pytest.mark.parametrize("out_of_step", [0, 3])
def test_a_weaker_promise_is_a_warning(
    item: pytest.Function,
    guests: Guests,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    out_of_step: int,
) -> None:
    files = {"reports.jsonl": "\n".join(report(w) for w in ("setup", "call", "teardown")) + "\n"}
    guest_that(monkeypatch, files=files, out_of_step=out_of_step)
    warned = []  # and not pytest's own list: it would be shown below this very test's run
    monkeypatch.setattr(
        guest_runner, "_record_warning", lambda _, warning: warned.append(str(warning))
    )
    run = RunWriter.create(tmp_path, command=["pytest"], harness="1")
    reports = list(run_in_guest(assignment(item), guests, run, lambda _: None))
    assert [r.outcome for r in reports] == ["passed"] * 3
    if not out_of_step:
        assert warned == []
        return
    [text] = warned
    assert "could not wait for its turn, 3 times; a replay of this trial may differ" in text


@pytest.mark.parametrize("outcome", [Outcome.HUNG, Outcome.PANICKED, Outcome.OUT_OF_MEMORY])
def test_a_guest_that_breaks_makes_the_trial_unknown(
    item: pytest.Function,
    guests: Guests,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outcome: Outcome,
) -> None:
    guest_that(monkeypatch, outcome=outcome, detail=f"the guest is {outcome}")
    run = RunWriter.create(tmp_path, command=["pytest"], harness="1")

    (only,) = run_in_guest(assignment(item), guests, run, lambda _: None)

    assert only.failed
    assert ("outcome", "unknown") in only.user_properties
    assert "Kernel panic" in str(only.longrepr), "the console's end says why"
    (trial,) = read_run(run.folder).trials
    assert trial.record.verdict == "unknown"
    assert trial.record.reason == f"the guest is {outcome}"
    assert (trial.folder / "console.log").exists()


def test_a_guest_of_a_damaged_snapshot_is_run_again_from_a_new_one(
    item: pytest.Function, guests: Guests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = guest_that(monkeypatch, outcome=Outcome.DIED)
    snapshot = tmp_path / "snapshot-key"
    (snapshot / "manifest.json").write_bytes(b"")
    run = RunWriter.create(tmp_path, command=["pytest"], harness="1")
    list(run_in_guest(assignment(item), guests, run, lambda _: None))
    assert len(jobs) == 2
    assert not snapshot.exists(), "it was set aside"


def test_what_the_guest_is_called_with_follows_from_the_assignment(item: pytest.Function) -> None:
    plain = assignment(item).args()
    given = assignment(item, control=True, topology_given=True).args()

    assert "--controls" not in plain
    assert {"--controls", "--topology=3m2w"} <= set(given)
