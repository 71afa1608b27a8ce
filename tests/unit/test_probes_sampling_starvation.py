"""Whether others kept a lab from a CPU: read as the kernel counts it, and when it is a doubt."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from bare_trials import bare_trial
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import LabError
from harness.lab import Lab
from harness.probes.sampling.starvation import (
    MOST,
    CpuTimes,
    Starvation,
    cpu_times,
    starvation_of,
    times_of_machine,
)
from harness.trial import Expectation, Trial, read_lines
from harness.wait import Elapsed

CPUS = os.cpu_count() or 1

#: Recorded in 1m2w of 26.1.5, ``run --lab namespaces -k port_taken``, on two CPUs: the seconds of
#: the body, and what they went to.
UNDISTURBED = 13.64, CpuTimes(0.94, 3.33, 27.23, 0.04)
AT_A_FIFTH = 14.60, CpuTimes(2.84, 3.89, 29.17, 0.02)
AT_TWO_FIFTHS = 21.00, CpuTimes(9.15, 4.94, 41.84, 0.01)
FAILED_BY_THE_CLOCK = 68.90, CpuTimes(57.49, 6.16, 137.54, 0.18)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    made = bare_trial(tmp_path / "trial")
    yield made
    made.journal.close()


def starved(seconds: float, times: CpuTimes) -> Starvation:
    """Return one that has seen these times go by in these seconds."""
    before = CpuTimes(100.0, 50.0, 400.0, 3.0)
    after = CpuTimes(
        before.waited + times.waited,
        before.lab + times.lab,
        before.busy + times.busy,
        before.stolen + times.stolen,
    )
    readings, clock = iter([before, after]), iter([1000.0, 1000.0 + seconds])
    return Starvation(lambda: next(readings), lambda: next(clock))


@pytest.mark.parametrize(
    ("recorded", "doubted"),
    [
        (UNDISTURBED, False),  # two guests and the tests of others kept both CPUs busy
        (AT_A_FIFTH, False),
        (AT_TWO_FIFTHS, True),
        (FAILED_BY_THE_CLOCK, True),
    ],
)
def test_a_lab_that_others_kept_waiting_is_a_doubt(
    trial: Trial, recorded: tuple[float, CpuTimes], doubted: bool
) -> None:
    said = list(starved(*recorded).doubts(trial))
    assert bool(said) is doubted
    assert not said or "kept the lab's processes waiting for a CPU" in said[0]
    trial.journal.close()
    [row] = [row for row in read_lines(trial.folder / "journal.jsonl") if "cpu" in row["kind"]]
    assert row["seconds"] == recorded[0]


def test_a_lab_that_waits_with_nobody_else_at_work_has_a_quota(trial: Trial) -> None:
    assert list(starved(60, CpuTimes(55.0, 6.0, 8.0, 0)).doubts(trial)) == []


def test_what_the_hypervisor_took_counts_as_others(trial: Trial) -> None:
    [doubt] = starved(60, CpuTimes(0, 30.0, 30.0, 20.0 * CPUS)).doubts(trial)
    assert "for 20.0 s of 60.0 s" in doubt


@pytest.mark.parametrize(
    ("value", "doubted"),
    [
        (Elapsed(7.0, True), False),  # waiting makes nothing quicker
        (Elapsed(11.5, True), True),
        (Elapsed(12.5, True), False),
        (Elapsed(10.0, False), False),  # nobody knows how long it would have been
    ],
)
def test_a_time_that_is_late_by_what_was_waited_may_be_the_machines(
    trial: Trial, value: Elapsed, doubted: bool
) -> None:
    trial.measures(Expectation("downtime", unit="s", at_most=10, source="a test"), value)
    said = list(starved(60, CpuTimes(2.0, 30.0, 90.0, 0)).doubts(trial))
    assert bool(said) is doubted
    assert not said or "downtime might have been in time" in said[0]


TIMES = st.floats(0, 1e4)


@given(waited=TIMES, lab=TIMES, busy=TIMES)
def test_no_more_is_held_against_others_than_they_used(
    waited: float, lab: float, busy: float
) -> None:
    times = CpuTimes(waited, lab, busy, 0)
    assert 0 <= times.starved <= min(waited, max(0, busy - lab))


def machine(
    folder: Path, full: str = "full avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n"
) -> Any:
    group = folder / "lab"
    group.mkdir(exist_ok=True)
    some = "some avg10=30.00 avg60=28.00 avg300=20.00 total=131944491\n"
    (group / "cpu.pressure").write_text(some + full)
    (group / "cpu.stat").write_text("usage_usec 4000000\nuser_usec 1\nsystem_usec 1\n")
    (folder / "stat").write_text("cpu  1000 100 300 9000 50 0 100 20 700 0\ncpu0 1 2 3\n")
    return [group], folder / "stat"


def test_times_are_read_as_the_kernel_counts_them(tmp_path: Path) -> None:
    groups, stat = machine(tmp_path)
    read = cpu_times(groups, stat)
    tick = os.sysconf("SC_CLK_TCK")
    assert (read.waited, read.busy, read.stolen) == (2.5, 1500 / tick, 20 / tick)
    assert read.cpus == 1
    assert read.lab >= 4.0, "and the harness's own"


@pytest.mark.parametrize(
    "broken",
    [
        lambda group: (group / "cpu.pressure").unlink(),  # psi=0
        lambda group: (group / "cpu.pressure").write_text(
            "some avg10=0.00 total=1\n"
        ),  # before 5.13
        lambda group: (group / "cpu.stat").write_text(""),
    ],
)
def test_where_the_kernel_does_not_count_nothing_is_doubted_and_that_is_said(
    tmp_path: Path, trial: Trial, broken: Callable[[Path], object]
) -> None:
    groups, stat = machine(tmp_path)
    broken(groups[0])
    for uncounted in (partial(cpu_times, groups, stat), partial(cpu_times, [], stat)):
        starvation = Starvation(uncounted)
        assert starvation.row() == {}
        assert list(starvation.doubts(trial)) == []
    [one, other] = unwatched(trial)
    assert "does not" in one["why"]
    assert other["why"] == "the lab has no cgroup of version 2"


def unwatched(trial: Trial) -> list[dict[str, Any]]:
    """Return what the journal says of machines on which nobody looked."""
    entries = read_lines(trial.folder / "journal.jsonl")
    return [entry for entry in entries if entry["kind"] == "machine.unwatched"]


def files_of(folder: Path) -> dict[str, str]:
    """Return what a machine of the ssh lab answers, of the same files."""
    groups, stat = machine(folder)
    group = groups[0]
    return {
        "pressure": (group / "cpu.pressure").read_text(),
        "usage": (group / "cpu.stat").read_text(),
        "stat": stat.read_text() + "cpu1 1 2 3\ncpu2 1 2 3\n",
        "ticks": "250",
    }


def test_another_machines_times_are_in_its_own_ticks_and_cpus(tmp_path: Path) -> None:
    read = times_of_machine(lambda: files_of(tmp_path))
    assert (read.waited, read.lab, read.cpus) == (2.5, 4.0, 3)
    assert (read.busy, read.stolen) == (1500 / 250, 20 / 250)


class Machines:
    """A lab of two machines: one is starved and the other cannot be asked."""

    def __init__(self, folder: Path) -> None:
        self.asked = 0
        self._files = files_of(folder)

    def cpu_counters(self) -> dict[str, Callable[[], dict[str, str]]]:
        return {"rack1": self._rack1, "rack2": self._rack2}

    def _rack1(self) -> dict[str, str]:
        self.asked += 1
        waited = f"full avg10=0.00 total={self.asked * 30_000_000}\n"
        busy = f"cpu  {self.asked * 20_000} 0 0 0 0 0 0 0 0 0\ncpu0 1\n"
        return {**self._files, "pressure": waited, "stat": busy}

    def _rack2(self) -> dict[str, str]:
        raise LabError("machine rack2 has not answered within 10 s")


def test_each_machine_of_a_lab_is_watched_by_itself(tmp_path: Path, trial: Trial) -> None:
    lab = Machines(tmp_path)
    watched = starvation_of(cast("Lab", lab))
    assert [each.row() for each in watched] == [{}, {}], (
        "nobody waits for a connection every second"
    )
    assert lab.asked == 1
    [doubt] = [doubt for each in watched for doubt in each.doubts(trial)]
    assert doubt.startswith("other work on rack1 kept the lab's processes waiting for a CPU for 30")
    [other] = unwatched(trial)
    assert (other["machine"], other["why"]) == (
        "rack2", "machine rack2 has not answered within 10 s",
    )  # fmt: skip


def test_a_lab_that_is_gone_ends_the_count_where_it_was(tmp_path: Path, trial: Trial) -> None:
    groups, stat = machine(tmp_path)
    starvation = Starvation(lambda: cpu_times(groups, stat))
    assert set(starvation.row()) == {"waited_s", "lab_cpu_s", "others_cpu_s"}
    (groups[0] / "cpu.stat").unlink()
    assert starvation.row() == {}
    assert starvation.total() is not None


def test_the_limit_is_where_the_figures_part() -> None:
    shares = [times.starved / seconds for seconds, times in (AT_A_FIFTH, AT_TWO_FIFTHS)]
    assert shares[0] < MOST < shares[1]
