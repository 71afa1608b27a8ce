"""Trials an hour: the same jobs with a warm start and without, and all that a seed costs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.bench import warm_starts
from harness.bench.warm_starts import SCENARIOS, metrics
from harness.errors import MicrovmError
from harness.guest.contract import WARM_VARIABLE
from harness.snapshots.job import GuestJob
from harness.vm.snapshot import Snapshot
from harness.vm.thaw import Outcome

SNAPSHOT = cast("Snapshot", SimpleNamespace(key="base"))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was done, in order: jobs that were sent, warm-ups that were forgotten."""
    done: list[Any] = []

    def send(job: GuestJob, *_: Any) -> Any:
        done.append(job)
        result = SimpleNamespace(
            outcome=Outcome.FINISHED, exit_code=1, detail="", console_tail="the end"
        )
        return SimpleNamespace(result=result)

    class OneCpu:
        slots = 1

    monkeypatch.setattr(warm_starts, "Pool", OneCpu)
    monkeypatch.setattr(warm_starts, "send", send)
    monkeypatch.setattr(warm_starts, "forget", lambda *args: done.append(args[2]))
    monkeypatch.setattr(warm_starts, "cpu_of_children", lambda: float(len(done)))
    return done


def test_each_seed_is_run_both_ways_and_its_warm_start_made_anew(sent: list[Any]) -> None:
    said: list[str] = []
    found = {
        m.name: m.value for m in metrics(SNAPSHOT, b"", "x", seeds=2, scenarios=2, say=said.append)
    }
    order = [
        (each.seed, each.environment[WARM_VARIABLE], each.warm_up is not None)
        if isinstance(each, GuestJob)
        else f"forgets {each}"
        for each in sent
    ]
    seeds = [
        [*[f"forgets {seed}"] * 2, *[(seed, "1", True)] * 2, *[(seed, "0", False)] * 2]
        for seed in (1, 2)
    ]
    assert order == [*seeds[0], *seeds[1]]
    assert found["microvm.warm_gain_cpu"] == 1
    assert [line.partition(":")[0] for line in said] == [
        f"seed {seed}, {way}" for seed in (1, 2) for way in ("warm", "cold")
    ]


def test_a_trial_that_does_not_finish_is_no_figure(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    died = SimpleNamespace(
        outcome=Outcome.DIED, exit_code=None, detail="it died", console_tail="oops"
    )
    monkeypatch.setattr(warm_starts, "send", lambda *_: SimpleNamespace(result=died))
    with pytest.raises(MicrovmError, match=r"(?s)did not finish: it died.*oops"):
        list(metrics(SNAPSHOT, b"", "x", seeds=1, scenarios=1, say=print))


def test_the_scenarios_are_there_and_begin_alike() -> None:
    """Each names a test of the file, and none has a workload or topology of its own."""
    text = (
        Path(warm_starts.__file__).parents[2].joinpath("scenarios", warm_starts._FILE).read_text()
    )
    for name in SCENARIOS:
        test = name.partition("[")[0]
        head, found, _ = text.partition(f"\ndef {test}(")
        assert found, test
        assert "mark.swarm" not in head.rpartition("\n\n\n")[2]
