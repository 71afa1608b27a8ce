"""``swarm-chaos repro``: which thread is meant, what the bundle says, how it ends."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import synthetic_run

from harness.cli import main, repro
from harness.errors import UsageError
from harness.report.reproduction import digest_of_run
from harness.results import latest_run, read_run

KNOWN: dict[str, list[Any]] = {"moby/moby#35849": [], "moby/libnetwork#1446": [], "a/b#1446": []}
THREAD = "moby/moby#35849"


@pytest.mark.parametrize(
    "written",
    [
        *(THREAD, "moby#35849", "#35849", "35849"),
        *(f"https://github.com/moby/moby/issues/35849{tail}" for tail in ("", "#issuecomment-1")),
    ],
)
def test_a_thread_may_be_written_in_many_ways(written: str) -> None:
    assert repro.thread_of(written, KNOWN) == THREAD


@pytest.mark.parametrize(
    ("written", "sentence"), [("1446", "could be"), ("5849", "no scenario"), ("nonsense", "no sc")]
)
def test_a_thread_that_is_not_one_is_refused(written: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        repro.thread_of(written, KNOWN)


def test_the_known_threads_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["repro", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(THREAD) and "slash_30" in line for line in lines), lines
    assert any(line.startswith("moby/moby#31208") for line in lines), "a case's own thread"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Have a synthetic run instead of a true one; returns the options it was called with."""
    monkeypatch.chdir(tmp_path)
    called: list[list[str]] = []

    def pretend(_thread: str, _folder: Path, options: list[str], bundle: Path) -> int:
        called.append(options)
        synthetic_run(bundle / "reports")
        return 1

    monkeypatch.setattr(repro, "_run", pretend)
    return called


def test_the_bundle_has_a_summary_and_the_run(run: list[list[str]], tmp_path: Path) -> None:
    assert main.call(["repro", THREAD, "--engine", "oldest", "--lab", "namespaces"]) == 1
    assert run == [["--engine=oldest", "--seed=1", "--lab=namespaces"]]
    bundle = tmp_path / "repro-moby-moby-35849"
    text = (bundle / "README.md").read_text()
    assert text.startswith(f"# {THREAD}\n")
    assert "swarm-chaos repro 'moby/moby#35849' --engine=oldest --seed=1 --lab=namespaces" in text
    assert "| time to a new leader |" in text
    assert "fault.inject" in text
    assert "real time" in text
    assert list(bundle.glob("reports/*/trials/*/logs/*"))


def test_a_capture_is_asked_for_again_by_the_command_that_repeats_it(
    run: list[list[str]], tmp_path: Path
) -> None:
    main.call(["repro", THREAD, "--capture", "--lab", "namespaces"])
    assert run == [["--engine=stable", "--seed=1", "--capture-packets", "--lab=namespaces"]]
    text = (tmp_path / "repro-moby-moby-35849" / "README.md").read_text()
    assert "--engine=stable --seed=1 --capture --lab=namespaces" in text


def test_nothing_is_overwritten(run: list[list[str]], tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    assert main.call(["repro", THREAD, "--into", "here"]) == 64
    assert run == []


def test_without_a_trial_no_bundle_is_left(
    run: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_thread: str, _folder: Path, _options: list[str], bundle: Path) -> int:
        (bundle / "reports").mkdir(parents=True)
        return 2

    monkeypatch.setattr(repro, "_run", nothing)
    assert main.call(["repro", THREAD]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("same", [True, False])
def test_a_digest_proves_a_repetition(
    run: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    synthetic_run(tmp_path / "before")

    def repeat(_thread: str, _folder: Path, _options: list[str], bundle: Path) -> int:
        shutil.copytree(tmp_path / "before", bundle / "reports")
        return 0

    monkeypatch.setattr(repro, "_run", repeat)
    digest = digest_of_run(read_run(latest_run(tmp_path / "before"))) if same else "0" * 64
    assert main.call(["repro", THREAD, "--digest", digest]) == (0 if same else 1)


RECIPE = """\
title = "Users notice"
watch = "10s"
fault = [{at = "1s", for = "5s", fault = "dockerd-killed", target = "leader"}]

[[expect]]
measure = "requests lost"
at_most = 0.4
source = "a third of the users ask the dead node"
no_control = "an example"
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_a_recipe_becomes_a_scenario_about_the_thread(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(["repro", "--new", "12345", "--recipe", "recipe.toml"]) == 0
    assert "swarm-chaos repro 'moby/moby#12345'" in capsys.readouterr().out
    assert main.call(["repro", "--list"]) == 0
    listed = capsys.readouterr().out
    assert "moby/moby#12345" in listed
    assert "moby_moby_12345" in listed
    assert main.call(["repro", "--new", "12345", "--recipe", "recipe.toml"]) == 64  # it is there


@pytest.mark.parametrize(
    ("arguments", "text", "sentence"),
    [
        (["--new", "a thread", "--recipe", "recipe.toml"], RECIPE, "is not a thread"),
        (["--new", "1"], RECIPE, "takes a thread and a recipe"),
        (["1", "--recipe", "recipe.toml"], RECIPE, "takes a thread and a recipe"),
        (["--new", "1", "--recipe", "recipe.toml"], RECIPE + "x = 1\n", "line 5"),
        (
            ["--new", "1", "--recipe", "recipe.toml"],
            f'upstream = ["moby/moby#2"]\n{RECIPE}',
            "is about moby/moby#2",
        ),
    ],
)
def test_a_recipe_that_cannot_be_used_leaves_nothing_behind(
    arguments: list[str],
    text: str,
    sentence: str,
    recipe: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe.write_text(text)
    assert main.call(["repro", *arguments]) == 64
    assert sentence in capsys.readouterr().err
    assert not (recipe.parent / "chaos").exists()
