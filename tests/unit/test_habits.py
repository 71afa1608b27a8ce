"""What a stranger looks for in a repository is there, and is what it says."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import plain_yaml
import pytest

REPOSITORY = Path(__file__).parents[2]
CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
_LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")


@pytest.mark.parametrize(
    "name", ["LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
)
def test_the_file_is_there(name: str) -> None:
    assert (REPOSITORY / name).stat().st_size > 500


def test_the_licence_is_the_one_that_the_metadata_names() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    text = (REPOSITORY / "LICENSE").read_text()
    assert re.search(r"Apache License\s+Version 2\.0, January 2004", text)
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_metadata_say_who_and_where() -> None:
    assert PROJECT["authors"]
    assert {"Homepage", "Documentation", "Issues"} <= PROJECT["urls"].keys()
    assert all(url.startswith("https://") for url in PROJECT["urls"].values())


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_every_file_that_is_named_exists(name: str) -> None:
    links = [link for link in _LINK.findall((REPOSITORY / name).read_text()) if ":" not in link]
    missing = {link for link in links if not (REPOSITORY / link).exists()}
    assert missing == set()


def test_a_newcomer_has_ten_tasks_each_with_a_file() -> None:
    _, _, section = CONTRIBUTING.partition("## Ten tasks, and the file to open first\n")
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    files = [_LINK.findall(row) for row in rows[1:]]
    assert len(files) == 10
    assert all(len(named) == 1 and (REPOSITORY / named[0]).is_file() for named in files)


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = {word for line in re.findall(r"`make ([a-z]+)", CONTRIBUTING) for word in line.split()}
    assert {"unit", "test", "lint", "types", "scenarios", "reference"} <= named <= targets


def test_security_says_of_each_lab_what_it_is_a_boundary_for() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (REPOSITORY / "SECURITY.md").read_text(), re.MULTILINE)
    assert set(rows) == {"microvm", "namespaces", "dind"}


def read_yaml(name: str) -> Any:
    return plain_yaml.load((REPOSITORY / name).read_text())


def test_the_workflow_runs_what_ci_runs_and_nothing_else() -> None:
    workflow = read_yaml(".github/workflows/ci.yml")
    [job] = workflow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["${{ matrix.command }}"]
    made = {each["user"]: each["command"] for each in job["strategy"]["matrix"]["include"]}
    assert made == {"root": "sudo .ci/run", "ordinary": ".ci/run"}
    assert (REPOSITORY / ".ci" / "run").stat().st_mode & 0o111


def test_the_workflow_may_only_read_and_keeps_the_cache_by_key() -> None:
    workflow = read_yaml(".github/workflows/ci.yml")
    assert workflow["permissions"] == {"contents": "read"}
    [job] = workflow["jobs"].values()
    [cache] = [s["with"] for s in job["steps"] if s.get("uses", "").startswith("actions/cache@")]
    assert cache["path"] == "~/.cache/swarm-chaos"
    assert "hashFiles" in cache["key"]
    assert cache["key"].startswith(cache["restore-keys"])


def test_pre_commit_runs_the_tools_that_make_runs() -> None:
    [source] = read_yaml(".pre-commit-config.yaml")["repos"]
    assert source["repo"] == "local"
    tools = {tuple(shlex.split(hook["entry"])[:2]) for hook in source["hooks"]}
    assert tools == {
        (".venv/bin/ruff", "check"),
        (".venv/bin/ruff", "format"),
        (".venv/bin/mypy",),
    }
    recipes = (REPOSITORY / "Makefile").read_text()
    for tool in tools:
        assert " ".join(tool).replace(".venv/bin", "$(BIN)") in recipes


def test_yaml_is_read_as_it_is_meant() -> None:
    text = "a: x\nb:\n  - c: 'y z'\n    d: [p, q]\n  - -1\ne: |\n  one\n  two\nf:\n"
    read = {"a": "x", "b": [{"c": "y z", "d": ["p", "q"]}, "-1"], "e": "one\ntwo\n", "f": None}
    assert plain_yaml.load(text) == read


@pytest.mark.parametrize(
    "text", ["a: x\n   b: y\n", "a\n", "a: x\na: y\n", "a: b: c\n", "a: &x y\n"]
)
def test_what_is_not_plain_yaml_is_refused(text: str) -> None:
    with pytest.raises(plain_yaml.NotPlain):
        plain_yaml.load(text)
