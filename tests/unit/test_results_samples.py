"""What is told from the samples of stored trials: losses by trial, growth of memory."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from stored_runs import given, store_run, store_trial

from harness.results import RunWriter, read_run
from harness.results.memory_growth import memory_growth
from harness.results.request_loss import request_losses

MIB = 1 << 20


def put_samples(folder: Path, name: str, rows: Any) -> None:
    (folder / "samples" / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def requests(outcomes: Mapping[str, int]) -> list[dict[str, int | str]]:
    return [{"t": n, "outcome": what} for what, count in outcomes.items() for n in range(count)]


def test_losses_are_of_whole_trials(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.0] * 6)
    for number, trial in enumerate(run.trials):
        # One trial in six lost half of its requests; the client's own trouble is nobody's loss.
        lost = 50 if number == 0 else 0
        rows = requests({"ok": 100 - lost, "5xx": lost, "client": 7})
        put_samples(trial.folder, "requests", rows)
    every, bad, errors = request_losses([read_run(run.folder)])
    assert (every.kind, every.share) == ("lost", bad.share)
    assert (bad.kind, bad.trials, bad.requests) == ("50x", 6, 600)
    assert bad.share == pytest.approx(50 / 600)
    assert bad.low == 0.0
    assert bad.high > 0.2
    assert (errors.share, errors.low, errors.high) == (0.0, 0.0, 0.0)


def test_engines_and_clocks_are_not_mixed_and_doubted_trials_are_left_out(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, command=[], harness="1")
    for inputs, doubt in (
        (given("20.10.5"), ""),
        (given("9.0"), ""),
        (given("9.0", clock="virtual"), ""),
        (given("9.0", seed=2), "no evidence"),
    ):
        folder = store_trial(writer, inputs, {}, doubt=doubt)
        put_samples(folder, "requests", requests({"ok": 9, "reset": 1}))
    found = [loss for loss in request_losses([read_run(writer.folder)]) if loss.kind == "lost"]
    assert [(loss.engine, loss.clock, loss.trials) for loss in found] == [
        ("9.0", "real", 1),
        ("9.0", "virtual", 1),
        ("20.10.5", "real", 1),
    ]
    assert {(loss.share, loss.low, loss.high) for loss in found} == {(0.1, 0.0, 1.0)}


def test_growth_is_of_the_longest_life_of_a_daemon(tmp_path: Path) -> None:
    chance = random.Random(3)
    run = store_run(tmp_path, [1.0])
    rows: Any = [
        {"t": t, "node": "m1", "pid": 7 if t < 60 else None if t < 70 else 8,
         "heap": (200 if t < 60 else 50 + 0.01 * t + chance.random()) * MIB,
         "anonymous": None, "rss": 90 * MIB}
        for t in range(600)
    ]  # fmt: skip
    put_samples(run.trials[0].folder, "memory", [{"t": "x"}, {"node": "m1"}, *rows])
    heap, rss = memory_growth(run)
    assert (heap.node, heap.quantity, heap.since, heap.until) == ("m1", "heap", 70, 599)
    assert heap.low <= 36.0 <= heap.high
    assert heap.grows
    assert (rss.quantity, rss.per_hour, rss.grows) == ("rss", 0.0, False)


def test_no_samples_are_no_growth_and_no_losses(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.0])
    assert memory_growth(run) == ()
    assert request_losses([run]) == ()
