"""Runs that look real and need no swarm: to test results and report, and to measure them.

Times and rates follow what a five-node swarm does when its leader is killed: ten seconds without
a leader, some 50x and refused connections in the middle, a tail of slow answers after. Nothing in
them was measured; the engine's source says ``synthetic``.

``python tests/helpers/synthetic_runs.py FOLDER`` writes one to look at; with a number, a run of so
many trials, as for `swarm-chaos bench report`.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness.results import RunWriter
from harness.trial import (
    EngineFacts,
    Expectation,
    Observation,
    Trial,
    TrialClock,
    TrialInputs,
    read_lines,
)
from harness.wait import Elapsed

STARTED = datetime(2026, 11, 23, 0, 45, tzinfo=UTC)
MANAGERS = ("m1", "m2", "m3")
NODES = (*MANAGERS, "w1", "w2")
ENGINES = ("20.10.5", "20.10.24", "26.1.5", "28.5.2")
KILLED_AT = 30.0
HEALED_AT = 52.0
LOAD_FROM, LOAD_TO = 9.5, 69.5
ABOUT = """What a manager's death costs a loaded service.

Three managers, two workers; a balancer in front of an HTTP app, and users who ask at every node.
The leader dies by SIGKILL. What enters by the dead node is lost; the rest is the swarm's to
keep."""
TITLES = {
    ("test_leader_killed[dockerd]", False): "A killed leader costs a loaded service little",
    ("test_control_majority_killed", True): "Two of three managers killed: no leader, and it shows",
    ("test_leader_killed[node]", False): "A killed leader costs a loaded service little",
}


class HandClock:
    """A monotonic clock that stands where it is put."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def engine(version: str = "28.5.2") -> EngineFacts:
    """Facts of an engine that need not exist."""
    return EngineFacts(name=version, version=version, source="synthetic", digest="0" * 64)


def inputs(
    scenario: str = "scenarios/test_manager_failover.py::test_leader_killed[dockerd]",
    *,
    version: str = "28.5.2",
    seed: int = 1,
    control: bool = False,
) -> TrialInputs:
    """Inputs of a trial in the namespaces lab."""
    return TrialInputs(
        scenario=scenario,
        control=control,
        engine=engine(version),
        topology="3m2w",
        lab="namespaces",
        kernel="6.12.0",
        clock="real",
        seed=seed,
    )


def failover_trial(
    writer: RunWriter, given: TrialInputs, *, gap: float = 9.8, limit: float = 20.0
) -> Path:
    """One failover: 20 users at 1 request/s each for 60 s, ``gap`` seconds without a leader.

    A control never gets its leader back. Returns the trial's folder.
    """
    rng = random.Random(f"{given.engine.version}/{given.seed}/{given.control}")
    clock = HandClock()
    trial = Trial(writer.trial_folder(given), given, clock=TrialClock(0.0, clock))
    rows = list(_requests(rng, gap, given.control))
    for at, kind, facts in sorted(_story(rng, rows, gap, given.control), key=lambda e: e[0]):
        clock.seconds = at
        trial.journal.write(kind, **facts)
    trial.write_samples("requests", rows)
    for name, sampled in _probes(rng, gap, given.control).items():
        trial.write_samples(name, sampled)
    first = next(read_lines(trial.folder / "journal.jsonl"))
    began = datetime.fromtimestamp(first["wall"], UTC)
    for node in NODES:
        trial.folder.joinpath("logs", f"{node}.log").write_text(_log(rng, node, gap, began))
    clock.seconds = 74.2
    bad = sum(r["outcome"] == "5xx" for r in rows) / len(rows)
    broken = sum(r["outcome"] in {"refused", "reset", "timeout"} for r in rows) / len(rows)
    leader = Elapsed(40.0, reached=False, last="2 of 3 managers do not answer")
    nobody = Elapsed(40.0, reached=False, last="no manager answered")
    measure = trial.measures
    measure(
        Expectation(
            "time to a new leader",
            unit="s",
            at_most=limit,
            source="moby/swarmkit: election tick 10 x 1 s, and a margin of 2",
        ),
        leader if given.control else gap,
        note="seen by m2, asked every 0.1 s",
    )
    measure(
        Expectation("time until the API takes a write", unit="s", at_most=limit + 5),
        nobody if given.control else gap + 0.41,
    )
    measure(Expectation("share of 50x", unit="1", at_most=0.08), bad)
    measure(Expectation("share of connection errors", unit="1", at_most=0.05), broken)
    measure(Expectation("longest gap without a success, m1", unit="s", at_most=15), 3.94)
    measure(Observation("tasks rescheduled after", unit="tasks", better="none"), 1)
    trial.finish(
        None,
        title=TITLES[given.scenario.rpartition("::")[2], given.control],
        about=ABOUT,
        upstream=["moby/moby#32841"],
        nodes=NODES,
        must_break=["time to a new leader"] if given.control else [],
    )
    return trial.folder


def synthetic_run(root: Path) -> Path:
    """A run of two scenarios on three engines with a control; one fails, one is unknown."""
    writer = RunWriter.create(
        root,
        command=["pytest", "scenarios/", "--engine", "20.10.24,26.1.5,28.5.2"],
        harness="0.1.0",
        started=STARTED,
    )
    whole_node = "scenarios/test_manager_failover.py::test_leader_killed[node]"
    for version, gap in (("20.10.24", 11.6), ("26.1.5", 10.2), ("28.5.2", 9.8)):
        failover_trial(writer, inputs(version=version), gap=gap)
    failover_trial(writer, inputs(whole_node, version="20.10.24"), gap=13.3)
    failover_trial(writer, inputs(whole_node, version="28.5.2"), gap=14.1, limit=12.0)
    majority = "scenarios/test_manager_failover.py::test_control_majority_killed"
    failover_trial(writer, inputs(majority, version="28.5.2", control=True))
    clock = HandClock()
    given = inputs(whole_node, version="26.1.5")
    trial = Trial(writer.trial_folder(given), given, clock=TrialClock(0.0, clock))
    clock.seconds = 31.4
    trial.doubt("the fault 'kill' left no evidence: dockerd of m1 still answers")
    trial.finish(None, title=TITLES["test_leader_killed[node]", False], nodes=NODES)
    return writer.folder


def many_trials(
    root: Path, trials: int, *, started: datetime = STARTED, slower: float = 0.0
) -> Path:
    """One run of ``trials`` trials: two scenarios on four engines, as many seeds as it takes."""
    writer = RunWriter.create(root, command=["synthetic"], harness="0.1.0", started=started)
    scenarios = [
        f"scenarios/test_manager_failover.py::test_leader_killed[{victim}]"
        for victim in ("dockerd", "node")
    ]
    points = [(s, e) for s in scenarios for e in ENGINES]
    for number in range(trials):
        scenario, version = points[number % len(points)]
        seed = number // len(points) + 1
        rng = random.Random(f"{scenario}/{version}/{seed}/{started}")
        gap = 9.0 + slower + 2.5 * rng.random() + (2.2 if version == ENGINES[0] else 0.0)
        failover_trial(writer, inputs(scenario, version=version, seed=seed), gap=gap, limit=13.5)
    return writer.folder


def nightly_runs(root: Path, runs: int, *, trials: int = 8, slower_from: int = 8) -> list[Path]:
    """``runs`` runs, one a day; from number ``slower_from`` on every failover takes 2 s longer."""
    return [
        many_trials(
            root,
            trials,
            started=STARTED + timedelta(days=number),
            slower=2.0 if number >= slower_from else 0.0,
        )
        for number in range(runs)
    ]


def _probes(rng: random.Random, gap: float, control: bool) -> dict[str, Sequence[dict[str, Any]]]:
    """What the probes would have sampled."""
    back = HEALED_AT + 2
    memory = [
        {
            "t": float(second), "node": node, "pid": 100 + place,
            "rss": int((92 + 3 * place + 0.05 * second + rng.random()) * (1 << 20)),
            "pss": None, "threads": 20 + place,
            "heap": int((31 + place + (second % 9) + rng.random()) * (1 << 20)),
            "goroutines": 210 + 30 * (place < 3) + rng.randrange(12), "files": 60 + place,
        }
        for second in range(0, 74, 2)
        for place, node in enumerate(NODES)
        if node != "m1" or not KILLED_AT <= second < back
    ]  # fmt: skip

    def container(slot: int, node: str, started: float, ended: float | None) -> dict[str, Any]:
        return {
            "t": started, "node": node, "service": "app", "slot": str(slot),
            "task": f"{slot}-{node}", "addresses": {"chaos": f"10.0.1.{10 + slot}"},
            "serving": started + 0.4, "leaving": None, "ended": ended,
        }  # fmt: skip

    moved = KILLED_AT + gap + 4
    containers = [container(slot, NODES[slot], 8.0, None) for slot in (2, 3, 4)]
    containers.insert(0, container(1, "m1", 8.1, KILLED_AT + 0.1))
    if not control:
        containers.append(container(5, "w2", moved, None))
    discovery = []
    for node in NODES[1:]:
        late = KILLED_AT + 4 + 6 * rng.random()
        first = [c["addresses"]["chaos"] for c in containers if c["t"] < 9]
        rest = first[1:]
        said = [(8.6, late, first), (late, 74.0 if control else moved + 0.9, rest)]
        if not control:
            said.append((moved + 0.9, 74.0, [*rest, containers[-1]["addresses"]["chaos"]]))
        discovery += [
            {
                "t": round(at, 3), "until": round(until, 3), "node": node, "network": "chaos",
                "name": "tasks.app", "via": "dns", "addresses": addresses, "error": "",
            }
            for at, until, addresses in said
        ]  # fmt: skip
    tasks = [
        {"t": c["t"], "task": c["task"], "service": "app", "slot": c["slot"], "node": c["node"],
         "state": "running", "desired": "running", "error": ""}
        for c in containers
    ]  # fmt: skip
    if not control:
        tasks.append({**tasks[0], "t": KILLED_AT + gap + 3.2, "state": "orphaned"})
    logs = [
        {"t": round(KILLED_AT + 1 + 3 * rng.random(), 3), "node": node, "pattern": pattern,
         "text": f"memberlist: {pattern} m1"}
        for node in NODES[1:]
        for pattern in ("suspect", "marked failed")
    ]  # fmt: skip
    reached = [
        {"t": round(second + 0.1, 3), "took": 0.002, "source": "outside", "target": f"{node}:8080",
         "address": "", "code": 200, "task": "", "node": node,
         "outcome": "refused" if node == "m1" and KILLED_AT <= second < back else "ok"}
        for second in range(10, 70)
        for node in NODES
    ]  # fmt: skip
    return {
        "memory": memory, "containers": containers, "tasks": sorted(tasks, key=_time),
        "discovery": sorted(discovery, key=_time), "dockerd_logs": sorted(logs, key=_time),
        "reachability": reached,
    }  # fmt: skip


def _time(row: dict[str, Any]) -> float:
    return float(row["t"])


def _requests(rng: random.Random, gap: float, control: bool) -> Iterator[dict[str, Any]]:
    hurt = HEALED_AT + 12 if control else KILLED_AT + gap
    for second in range(int(LOAD_TO - LOAD_FROM)):
        for user in range(20):
            at = LOAD_FROM + second + user / 20 + rng.random() * 0.004
            entry = NODES[user % 5]
            took = rng.lognormvariate(-5.1, 0.45)
            outcome, code = "ok", 200
            if KILLED_AT <= at < hurt:
                draw = rng.random()
                if entry == "m1" and at < HEALED_AT and draw < 0.85:
                    outcome, code, took = "refused", 0, 0.0007 + rng.random() * 0.001
                elif draw < 0.20:
                    outcome, code, took = "5xx", 502 + 2 * (draw < 0.08), 0.002 + draw
                elif draw < 0.23:
                    outcome, code, took = "timeout", 0, 2.0
                else:
                    took *= 4
            elif hurt <= at < hurt + 5:
                took *= 1 + 9 * rng.random()
            task = f"app.{user % 4 + 1}" if outcome == "ok" else ""
            yield {
                "t": round(at, 6), "took": round(took, 6), "code": code, "outcome": outcome,
                "entry": entry, "task": task, "node": NODES[user % 4 + 1] if task else "",
            }  # fmt: skip


def _story(
    rng: random.Random, rows: list[dict[str, Any]], gap: float, control: bool
) -> Iterator[tuple[float, str, dict[str, Any]]]:
    yield 3.1, "lab.ready", {
        "nodes": {
            n: {"address": f"198.18.0.{i}", "engine": "28.5.2",
                "planned_role": "manager" if n in MANAGERS else "worker"}
            for i, n in enumerate(NODES, start=11)
        }
    }  # fmt: skip
    yield 5.2, "swarm.formed", {
        "managers": list(MANAGERS), "workers": ["w1", "w2"], "leader": "m1"
    }  # fmt: skip
    yield 5.3, "leader", {"leader": "m1", "by": "m1"}
    yield 9.1, "workload.deployed", {
        "workload": "balanced_web", "services": {"balancer": 5, "app": 4},
        "entries": {n: f"http://198.18.0.{i}:8080" for i, n in enumerate(NODES, start=11)},
        "mesh": False,
    }  # fmt: skip
    yield LOAD_FROM, "load.start", {"users": 20, "users_per_entry": dict.fromkeys(NODES, 4)}
    targets = ["m1", "m2"] if control else ["m1"]
    for number, target in enumerate(targets):
        at = KILLED_AT + number * 0.2
        fault = {"id": f"kill-{number + 1}", "fault": "kill dockerd", "target": target}
        yield at, "fault.inject", {**fault, "signal": "SIGKILL"}
        yield at + 0.03, "fault.evidence", {
            "id": fault["id"], "proof": "pid 4711 is gone; unix socket refuses"
        }  # fmt: skip
        yield HEALED_AT + number, "fault.heal", {"id": fault["id"]}
        yield HEALED_AT + number + 1.9, "fault.healed", {
            "id": fault["id"], "proof": "dockerd answers /_ping, pid 5002"
        }  # fmt: skip
    yield KILLED_AT + 0.2, "leader", {"leader": None, "by": "m2"}
    if not control:
        yield KILLED_AT + gap, "leader", {"leader": "m2", "by": "m2"}
        yield KILLED_AT + gap + 3.2, "node.state", {"node": "m1", "state": "down", "by": "m2"}
        yield HEALED_AT + 4.4, "node.state", {"node": "m1", "state": "ready", "by": "m2"}
        for number in range(6):
            yield KILLED_AT + gap + 4 + rng.random(), "task.state", {
                "task": f"app.{number % 4 + 1}", "node": NODES[1 + number % 4],
                "state": ("pending", "preparing", "running")[number // 2],
            }  # fmt: skip
    outcomes: dict[str, int] = {}
    for row in rows:
        outcomes[row["outcome"]] = outcomes.get(row["outcome"], 0) + 1
    yield LOAD_TO, "load.stop", {"requests": len(rows), "outcomes": outcomes}
    yield LOAD_TO + 0.1, "note", {"text": "scenario's body is over"}


def _log(rng: random.Random, node: str, gap: float, began: datetime) -> str:
    def line(at: float, level: str, msg: str, rest: str = "") -> str:
        stamp = f"{began + timedelta(seconds=at):%Y-%m-%dT%H:%M:%S.%f}000Z"
        return f'time="{stamp}" level={level} msg="{msg}"{rest}\n'

    text = line(1.0, "info", "Starting up") + line(2.2, "info", "API listen on docker.sock")
    if node in MANAGERS[1:]:
        for second in range(int(gap)):
            text += line(
                KILLED_AT + second + rng.random(), "warning",
                "rpc error: code = Unavailable desc = connection refused",
                ' module=raft method=\\"(*node).sendAppend\\"',
            )  # fmt: skip
        text += line(KILLED_AT + gap, "info", "raft: 2a became leader at term 3")
    if node == "m1":
        text += line(
            HEALED_AT + 1, "error", 'Failed to load container: \\"</script><b>x\\"'
        )  # hostile on purpose
    return text


if __name__ == "__main__":
    root, *trials = sys.argv[1:]
    print(many_trials(Path(root), int(trials[0])) if trials else synthetic_run(Path(root)))
