"""The outer pytest's side of a guest: what is sent, what comes home, and guests that break."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.engine import EngineFacts
from harness.guest.contract import WARM_VARIABLE
from harness.images import Cache
from harness.lab import Topology
from harness.pytest_plugin import guest_runner
from harness.pytest_plugin.guest_runner import Assignment, Guests, Reuse, run_in_guest, warm_up_of
from harness.pytest_plugin.markers import TrialPoint
from harness.pytest_plugin.trial_request import TrialRequest
from harness.results import RunWriter, read_run
from harness.snapshots.job import GuestJob, JobResult
from harness.snapshots.kept_results import KeptResults
from harness.swarm import Workload, balanced_web
from harness.swarm.workload import facts_of
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


def assignment(item: pytest.Function, **changes: Any) -> Assignment:
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


def whole(trial_id: str = "{trial}") -> dict[str, str]:
    reports = "\n".join(report(when) for when in ("setup", "call", "teardown"))
    return {
        "reports.jsonl": f"{reports}\n",
        f"{trial_id}/journal.jsonl": "one\n",
        f"{trial_id}/trial.json": "{}",
    }


def reusing(guests: Guests, tmp_path: Path, *, audit: float = 0.0) -> Guests:
    results = KeptResults(Cache(tmp_path / "cache"))
    return replace(guests, reuse=Reuse(results, wanted=True, audit=audit))


def test_a_trial_that_was_run_before_is_reused_and_its_record_says_so(
    item: pytest.Function, guests: Guests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = guest_that(monkeypatch, files=whole())
    said: list[str] = []
    for name in ("first", "second"):
        run = RunWriter.create(tmp_path / name, command=["pytest"], harness="1")
        list(run_in_guest(assignment(item), reusing(guests, tmp_path), run, said.append))
    assert len(jobs) == 1
    [record] = (tmp_path / "second").rglob("job.json")
    assert json.loads(record.read_text())["reused"] is True
    assert (record.parent / "journal.jsonl").read_text() == "one\n"
    assert [line for line in said if line.startswith("reused")]


def test_an_audit_that_differs_is_unknown_and_says_where(
    item: pytest.Function, guests: Guests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest_that(monkeypatch, files=whole())
    run = RunWriter.create(tmp_path / "first", command=["pytest"], harness="1")
    list(run_in_guest(assignment(item), reusing(guests, tmp_path), run, print))
    for text, expected in (("one\n", "passed"), ("two\n", "failed")):
        guest_that(monkeypatch, files={**whole(), "{trial}/journal.jsonl": text})
        run = RunWriter.create(tmp_path / expected, command=["pytest"], harness="1")
        auditing = reusing(guests, tmp_path, audit=1.0)
        last = list(run_in_guest(assignment(item), auditing, run, print))[-1]
        assert last.outcome == expected
    assert "first difference in journal.jsonl, line 1" in str(last.longrepr)
    assert ("outcome", "unknown") in last.user_properties


def test_a_warm_up_is_for_virtual_time_and_where_it_is_worth_it() -> None:
    def asked(topology: Topology, serving: Workload | None, clock: Clock) -> Any:
        point = TrialPoint("stable", 7)
        return warm_up_of(TrialRequest("x", point, topology, serving=serving), clock)

    web = balanced_web()
    reseeded, serves = {"seed": 7, "reseed": True}, {"serving": facts_of(web)}
    assert asked(Topology(3, 2), None, Clock.VIRTUAL) == {**reseeded, "serving": None}
    assert asked(Topology(3, 2), web, Clock.VIRTUAL) == {**reseeded, **serves}
    assert asked(Topology(1, 2), web, Clock.VIRTUAL) == {**reseeded, "reseed": False, **serves}
    assert asked(Topology(1, 2), None, Clock.VIRTUAL) is None
    assert asked(Topology(3, 2), web, Clock.REAL) is None


def test_the_guest_is_told_whether_it_was_warmed_up(
    item: pytest.Function, guests: Guests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = guest_that(monkeypatch, files=whole())
    for number, topology in enumerate((Topology(3, 2), Topology(1, 1))):
        run = RunWriter.create(tmp_path / str(number), command=["pytest"], harness="1")
        list(run_in_guest(assignment(item, topology=topology), guests, run, print))
    assert [job.environment[WARM_VARIABLE] for job in jobs] == ["1", "0"]
    assert [job.warm_up is None for job in jobs] == [False, True]
