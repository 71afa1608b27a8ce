"""The command line: how calls end, and that nothing is imported before its time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from harness import __version__
from harness.cli import main
from harness.cli.pytest_call import (
    exit_code_of,
    names_a_scenario,
    pytest_arguments,
    scenarios_folder,
    selects,
)
from harness.errors import EndedBySignal, LabError, MissingError, UsageError
from harness.pytest_plugin.foreign_plugins import CALLED_WITH


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a command of the test's own into the group; returns a function that takes its body."""

    def put(body: Callable[..., Any], **settings: Any) -> None:
        made = click.command("probe", **settings)(body)  # type: ignore[no-untyped-call]
        monkeypatch.setitem(main.cli.commands, "probe", made)

    monkeypatch.delenv(main.DEBUG_VARIABLE, raising=False)
    return put


def raising(error: LabError) -> Callable[..., None]:
    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LabError("node m1 did not start", hint="look at its log"), 2),
        (MissingError("no program nft", hint="apt-get install nftables"), 2),
        (UsageError("there is no engine 'x'", hint="swarm-chaos engines lists them"), 64),
        (PermissionError(13, "Permission denied", "/somewhere"), 2),
        (ZeroDivisionError("oops"), 2),
        (KeyboardInterrupt(), 130),
        (EndedBySignal(signal.SIGTERM), 143),
        (EndedBySignal(signal.SIGHUP), 129),
    ],
)
def test_an_error_ends_in_a_sentence_and_its_exit_code(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str], error: Any, code: int
) -> None:
    command(raising(error))
    assert main.call(["probe"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert str(error.args[-1] if error.args else "interrupted").split("\n")[0] in err


def test_a_hint_is_printed_with_what_was_wrong(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(LabError("the lab is gone", hint="make it again")))
    main.call(["probe"])
    assert "the lab is gone\n  -> make it again" in capsys.readouterr().err


def test_who_asks_for_the_traceback_gets_it(
    command: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(main.DEBUG_VARIABLE, "1")
    command(raising(LabError("the lab is gone")))
    assert main.call(["probe"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["nonsense"], ["--nonsense"], ["bench", "nonsense"]])
def test_a_wrong_command_line_ends_with_64(
    argv: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.call(argv) == 64
    assert "nonsense" in capsys.readouterr().err


def test_the_exit_code_of_a_command_is_kept(command: Callable[..., None]) -> None:
    def body() -> None:
        click.get_current_context().exit(2)

    command(body)
    assert main.call(["probe"]) == 2


def test_a_command_that_returns_nothing_ends_well(command: Callable[..., None]) -> None:
    command(lambda: None)
    assert main.call(["probe"]) == 0


@pytest.mark.parametrize(
    ("pytest_code", "code"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 64), (5, 64), (77, 77)]
)
def test_pytests_exit_codes_become_ours(pytest_code: int, code: int) -> None:
    assert exit_code_of(pytest_code) == code


def test_run_adds_the_scenarios_unless_some_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called = []

    def pytest_main(args: list[str]) -> int:
        called.append(args)
        return 4

    monkeypatch.setattr("pytest.main", pytest_main)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "test_x.py").touch()
    with pytest.raises(SystemExit) as ended:
        main.call(["run", "-k", "failover", "--engine", "stable"])
    assert ended.value.code == 64
    with pytest.raises(SystemExit):
        main.call(["run", "scenarios/test_x.py::test_one", "--help"])
    assert [args[len(CALLED_WITH) :] for args in called] == [
        ["scenarios", "-k", "failover", "--engine", "stable"],
        ["scenarios/test_x.py::test_one", "--help"],
    ]
    assert all(tuple(args[: len(CALLED_WITH)]) == CALLED_WITH for args in called)


def test_packaged_scenarios_can_be_asked_for_and_are_no_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chaos").mkdir()
    assert "chaos" in pytest_arguments(["-x"])
    assert str(Path(__file__).parents[2] / "scenarios") in pytest_arguments(["--packaged", "-x"])
    with pytest.raises(UsageError, match="cannot be combined"):
        pytest_arguments(["--packaged", "chaos"])


@pytest.mark.parametrize(
    ("words", "offered"),
    [("swarm-chaos re", ["replay", "report"]), ("swarm-chaos compare --fo", ["--format"])],
)
def test_a_shell_completes_commands_and_options(words: str, offered: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "harness.cli"],
        env={
            **os.environ,
            "_SWARM_CHAOS_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    completed = ran.stdout.splitlines()
    assert {f"plain,{word}" for word in offered} <= set(completed)
    assert all(line.removeprefix("plain,").startswith(words.split()[-1]) for line in completed)


def test_without_a_folder_of_scenarios_here_the_projects_are_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert scenarios_folder() == Path(__file__).parents[2] / "scenarios"
    (tmp_path / "scenarios").mkdir()
    assert scenarios_folder() == Path("scenarios")


def test_the_package_runs_as_the_command_does() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "harness.cli", "--version"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, f"swarm-chaos, version {__version__}\n")


def test_help_names_every_command_and_imports_none() -> None:
    script = (
        "import sys\n"
        "from harness.cli.main import call, COMMANDS\n"
        "assert call(['--help']) == 0\n"
        "loaded = [c.where for c in COMMANDS.values() if c.where.split(':')[0] in sys.modules]\n"
        "heavy = {'pytest', 'docker', 'rich', 'plotly', 'locust'} & set(sys.modules)\n"
        "sys.exit(f'{loaded} {heavy}' if loaded or heavy else 0)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    for name, lazy in main.COMMANDS.items():
        assert name in ran.stdout
        assert lazy.summary in ran.stdout


def test_every_lazy_command_is_where_the_table_says() -> None:
    context = click.Context(main.cli)
    group = main.LazyGroup(name="all", lazy=main.COMMANDS)
    for name in main.COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(), f"{name} has no help"


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.call(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "args",
    [
        ["-k", "dockerd"],
        ["-kdockerd"],
        ["-n", "0"],
        ["-n2"],
        ["--maxfail=1"],
        ["--collect-only"],
        ["--lab", "microvm", "-x"],
        ["--lab=namespaces", "--controls"],
        [__file__],
        [f"{__file__}::test_x"],
        ["no-such-file"],
        ["--controls", "no-such-file"],
        ["--engine", "oldest", "no-such-file"],
    ],
)
def test_a_selection_of_scenarios_runs_one_by_one(args: Sequence[str]) -> None:
    assert selects(args)


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--engine", "oldest"],
        ["--controls", "--thorough"],
        ["--reports", str(Path(__file__).parent)],
    ],
)
def test_the_whole_suite_is_spread_over_the_cpus(args: Sequence[str]) -> None:
    assert not selects(args)


def test_a_folder_for_reports_that_is_there_already_is_not_where_scenarios_are(
    tmp_path: Path,
) -> None:
    assert not names_a_scenario(str(tmp_path), "--reports")
    assert names_a_scenario(str(tmp_path), "--controls")
    assert not names_a_scenario("", "--topology"), "and not the folder that this is"
    ran = subprocess.run(
        [sys.executable, "-m", "harness.cli.main", "run", "--reports", str(tmp_path), "--co", "-q"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "test_leader_killed" in ran.stdout
