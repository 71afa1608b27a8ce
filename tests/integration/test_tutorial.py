"""The scenario in the tutorial works as it is printed there, and is as short as it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.engine import Engine
from harness.results import read_run
from harness.trial.oracles import of_the_scenario

pytestmark = pytest.mark.integration

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
_MARKED = re.compile(
    r"<!-- run by tests/integration/test_tutorial\.py -->\n```python\n(.*?)```\n", re.DOTALL
)


@pytest.fixture
def scenario() -> str:
    """The one scenario that the tutorial has for this test."""
    [code] = _MARKED.findall(TUTORIAL.read_text())
    return str(code)


def test_it_has_nine_lines(scenario: str) -> None:
    assert len([line for line in scenario.splitlines() if line.strip()]) == 9


def test_it_passes_as_printed(scenario: str, tmp_path: Path, as_root: None, stable: Engine) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["harness.pytest_plugin"]\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:locust -p no:testinfra\n")
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "test_mine.py").write_text(scenario)
    argv = [sys.executable, "-m", "harness.cli.main", "run", "--lab=namespaces"]
    done = subprocess.run(
        [*argv, "scenarios/test_mine.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [trial] = read_run(tmp_path / "reports" / "latest").trials
    assert trial.record.verdict == "pass"
    [measure] = of_the_scenario(trial.record.measures)
    assert (measure.name, measure.ok) == ("lost at the other nodes", True)
