"""Scenarios without Python: what is collected of them, and where an error in one is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.docgen.scenario_schema import scenario_schema
from harness.errors import UsageError
from harness.pytest_plugin.toml_scenario import UNITS, module_of, read_scenario
from harness.trial import Expectation

LEADER = """\
title = "A leader's death costs users little"
topology = "3m"
watch = "30s"
upstream = ["moby/moby#32841"]

[[fault]]
at = "3s"
for = "20s"
fault = "dockerd-killed"
target = "leader"

[[expect]]
measure = "time to a new leader"
at_most = 45
source = "swarmkit: an election takes 10 to 20 ticks of 1 s, or two rounds"
no_control = "a first look"

[[expect]]
measure = "requests lost"
at_most = 0.4
source = "a third of the users ask the dead node; the rest is answered"

[control]

[[control.fault]]
at = "3s"
for = "25s"
fault = "node-killed"
target = "managers"
"""


def written(folder: Path, text: str = LEADER) -> Path:
    path = folder / "leader.chaos.toml"
    path.write_text(text)
    return path


def test_it_is_the_module_that_a_person_would_have_written(tmp_path: Path) -> None:
    path = written(tmp_path)
    module = vars(module_of(read_scenario(path), path))
    assert [name for name in module if name.startswith("test_")] == [
        *("test_leader", "test_control_leader"),
    ]
    marks = {mark.name: mark for mark in module["test_control_leader"].pytestmark}
    assert marks["swarm"].kwargs == {"managers": 3, "workers": 0, "spares": 0}
    assert marks["upstream"].args == ("moby/moby#32841",)
    assert "control" in marks
    expected: dict[str, Expectation] = module["EXPECTED"]
    assert expected["requests lost"].controls == ("test_control_leader",)
    assert expected["time to a new leader"].controls == ()


def test_pytest_collects_it_with_engines_and_seeds(tmp_path: Path) -> None:
    (tmp_path / "chaos").mkdir()
    written(tmp_path / "chaos")
    ran = subprocess.run(
        [sys.executable, "-m", "harness.cli", "run", "--co", "-q", "--controls", "--trials=2"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "chaos/leader.chaos.toml::test_leader[stable-s2]" in ran.stdout
    assert "chaos/leader.chaos.toml::test_control_leader[stable-s1]" in ran.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        ('watch = "30s"', "watch = 30s", "line 3, column"),
        ('watch = "30s"', "watch = 30", r"\(line 3, column 1\): Expected `str`"),
        ('watch = "30s"', 'watch = "30s"\nwhat = 1', "unknown field `what`"),
        ('target = "leader"', "target = 3", r"\(line 10, column 1\): Expected `str`"),
        ("at_most = 0.4", 'at_most = "0.4"', r"\(line 20, column 1\): Expected `float"),
        ('"requests lost"', '"requests won"', r"\(line 19, column 1\): 'requests won' is not a"),
        ('"dockerd-killed"', '"dockerd-kiled"', "dockerd-kiled"),
        ("[control]", "[controls]", "unknown field `controls`"),
        ('topology = "3m"', 'topology = "3x"', "not a valid topology"),
    ],
)
def test_an_error_says_where_it_is(tmp_path: Path, right: str, wrong: str, sentence: str) -> None:
    assert right in LEADER
    path = written(tmp_path, LEADER.replace(right, wrong, 1))
    with pytest.raises(UsageError, match=sentence):
        read_scenario(path)


def test_without_a_control_each_expectation_says_why(tmp_path: Path) -> None:
    text = LEADER.partition("[control]")[0]
    with pytest.raises(UsageError, match=r"line 19.*give a \[control\], or no_control"):
        read_scenario(written(tmp_path, text))


def test_the_schema_names_every_measure() -> None:
    schema = json.loads(scenario_schema())
    assert schema["$defs"]["ExpectTable"]["properties"]["measure"]["enum"] == list(UNITS)
    assert schema["$defs"]["TomlScenario"]["additionalProperties"] is False


def test_the_one_in_the_documents_can_be_read(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "howto.md").read_text()
    [example] = re.findall(r"```toml\n(title = .*?)```", text, flags=re.DOTALL)
    found = read_scenario(written(tmp_path, example))
    assert found.control is not None
