"""The pages made from the code are what the code says: a loop over what the scenarios state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.docgen.collection import collect
from harness.docgen.scenario import Scenario, StatedMeasure
from harness.docgen.scenarios_page import scenarios_page
from harness.trial import Expectation, Observation

SCENARIOS = '''
"""What a thing costs.

More about it.
"""
import pytest

from harness.trial import Expectation, Observation

GAP = Expectation(
    "gap at {entry}", unit="s", at_most=25, source="moby/moby#1", control="test_control_all"
)
KEPT = [Expectation("kept", unit="1", at_least=0.5, no_control="nothing loses | them")]
MOVED = Observation("moved", unit="tasks", better="none")


@pytest.mark.swarm(managers=1)
def test_one(lab, measure):
    """One thing."""


@pytest.mark.known_bug("moby/moby#2", engines="<27.0")
@pytest.mark.swarm(managers=1)
@pytest.mark.parametrize(
    "how", ["slowly", pytest.param("fast", marks=pytest.mark.known_bug("moby/moby#3"))]
)
def test_two(how, lab, measure):
    """Two things."""


@pytest.mark.control
@pytest.mark.swarm(managers=1)
def test_control_all(lab, measure):
    """All goes wrong."""
'''


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> list[Scenario]:
    """The scenarios above, collected as pytest does it in a process of its own."""
    folder = tmp_path_factory.mktemp("scenarios")
    (folder / "conftest.py").write_text('pytest_plugins = ["harness.pytest_plugin"]\n')
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:hypothesispytest\n")
    (folder / "test_thing.py").write_text(SCENARIOS)
    return collect(folder)


def test_a_limit_reads_like_a_sentence() -> None:
    def expected(**limit: Any) -> str:
        return StatedMeasure.of(Expectation("m", unit="s", **limit)).expected

    assert expected(at_most=45) == "at most 45"
    assert expected(at_least=0.5) == "at least 0.5"
    assert expected(exactly=0) == "exactly 0"
    assert StatedMeasure.of(Observation("m", unit="s")).expected == ""


def test_a_scenario_has_what_its_file_states_and_a_control_what_names_it(
    scenarios: list[Scenario],
) -> None:
    one, _, control = scenarios
    assert [each.name for each in one.measures] == ["gap at {entry}", "kept", "moved"]
    assert one.measures == control.measures
    assert (one.is_control, one.must_break) == (False, [])
    assert (control.is_control, control.must_break) == (True, ["gap at {entry}"])


def test_the_page_has_limit_source_and_control_of_each(scenarios: list[Scenario]) -> None:
    page = scenarios_page(scenarios).splitlines()
    link = "[moby/moby#1](https://github.com/moby/moby/issues/1)"
    assert f"| gap at {{entry}} | s | at most 25 | {link} | `test_control_all` |" in page
    assert "| kept | 1 | at least 0.5 |  | no control: nothing loses \\| them |" in page
    assert "| moved | tasks | recorded only |  |  |" in page
    assert (
        "| `test_control_all` | All goes wrong. **Control**: must break “gap at {entry}”. |" in page
    )


def test_a_known_bug_of_some_cases_is_said_with_them(scenarios: list[Scenario]) -> None:
    [two] = [each for each in scenarios if each.name == "test_two"]
    assert two.cases == ["slowly", "fast"]
    assert two.known_bugs == ["moby/moby#2 (<27.0)", "fast: moby/moby#3 (all engines)"]


def test_the_pages_are_what_the_code_says() -> None:
    """Whoever changes a fault or a scenario runs `make reference` after it."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.docgen", "--check"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
