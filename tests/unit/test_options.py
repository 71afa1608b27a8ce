"""The options of the scenarios: what is meant by them, and the sentence for what cannot be."""

from pathlib import Path

import pytest

from harness import options
from harness.errors import UsageError
from harness.frozen import KERNELS, kernel_suite
from harness.lab import Topology
from harness.microvm import Clock


@pytest.fixture
def read(tmp_path):
    """A function that reads a command line's options."""

    def run(*args):
        parser = pytest.Parser(_ispytest=True)
        options.declare(parser)
        namespace = parser.parse(args)

        class Config:
            rootpath = tmp_path

            def getoption(self, name):
                return getattr(namespace, name.removeprefix("--").replace("-", "_"))

        return options.read(Config())

    return run


def refused(read, *args):
    with pytest.raises(UsageError) as refusal:
        read(*args)
    assert refusal.value.exit_code == 64
    return str(refusal.value)


def test_without_options_one_trial_of_the_stable_engine_in_virtual_time(read, tmp_path):
    meant = read()
    assert (meant.engines, meant.seeds, meant.lab) == (("stable",), (1,), "auto")
    assert (meant.kernel, meant.clock) == (options.DEFAULT_KERNEL, Clock.VIRTUAL)
    assert meant.topology is None
    assert not meant.controls
    assert meant.reports == tmp_path / "reports"


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_that_is_offered_is_taken(read, kernel):
    assert read(f"--kernel={kernel}").kernel == kernel
    assert kernel_suite(kernel) == KERNELS[kernel]


def test_the_default_kernel_is_one_of_those_offered():
    assert options.DEFAULT_KERNEL in KERNELS


@pytest.mark.parametrize("kernel", ["", "6", "6.2", "latest", "6.12.1", " 6.12"])
def test_an_unknown_kernel_is_refused_with_the_known_ones(read, kernel):
    told = refused(read, f"--kernel={kernel}")
    assert repr(kernel) in told
    assert all(known in told for known in KERNELS)


@pytest.mark.parametrize("clock", Clock)
def test_both_clocks_are_taken(read, clock):
    assert read("--clock", clock.value).clock is clock


@pytest.mark.parametrize("clock", ["", "wall", "Virtual", "virtual,real"])
def test_an_unknown_clock_is_refused_with_the_known_ones(read, clock):
    told = refused(read, f"--clock={clock}")
    assert repr(clock) in told
    assert "virtual, real" in told


@pytest.mark.parametrize("lab", options.LABS)
def test_every_lab_that_is_offered_is_taken(read, lab):
    assert read(f"--lab={lab}").lab == lab


def test_an_unknown_lab_is_refused_with_the_known_ones(read):
    told = refused(read, "--lab=cloud")
    assert all(lab in told for lab in options.LABS)


@pytest.mark.parametrize(
    ("args", "seeds"),
    [
        ([], (1,)),
        (["--seed=0"], (0,)),
        (["--seed=7", "--trials=3"], (7, 8, 9)),
        (["--trials=2"], (1, 2)),
    ],
)
def test_seeds_count_up_from_the_first(read, args, seeds):
    assert read(*args).seeds == seeds


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--seed=-1"], "too small"),
        (["--seed=1.5"], "no whole number"),
        (["--seed=x"], "no whole number"),
        (["--trials=0"], "too small"),
        (["--trials="], "no whole number"),
    ],
)
def test_seeds_and_trials_that_cannot_be_are_refused(read, args, why):
    told = refused(read, *args)
    assert why in told
    assert args[0].split("=")[0] in told


def test_engines_come_by_commas_and_by_repetition_each_once(read):
    meant = read("--engine=stable, oldest", "--engine", "stable", "--engine=28.5.2")
    assert meant.engines == ("stable", "oldest", "28.5.2")


def test_an_unknown_engine_is_refused(read):
    assert "1.2.3" in refused(read, "--engine=stable,1.2.3")


def test_a_topology_is_read_and_a_wrong_one_refused(read):
    assert read("--topology=3m2w").topology == Topology(3, 2)
    assert "3x" in refused(read, "--topology=3x")


def test_reports_land_below_the_project_or_where_an_absolute_path_says(read, tmp_path):
    assert read("--reports=out").reports == tmp_path / "out"
    assert read("--reports=/elsewhere").reports == Path("/elsewhere")
