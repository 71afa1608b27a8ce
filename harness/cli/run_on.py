"""``swarm-chaos run --on dask://HOST:PORT``: the same trials, on the machines of a Dask cluster."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.output import say
from harness.errors import UsageError

if TYPE_CHECKING:
    import pytest

ON = "--on"

#: Options that are about one process's order of trials, and mean nothing for many machines.
_REFUSED = {
    **dict.fromkeys(("-n", "--numprocesses"), "a worker of the cluster has as many as its threads"),
    **dict.fromkeys(("-x", "--exitfirst", "--maxfail"), "trials run beside each other"),
    "--shard": "the cluster shares the trials out itself",
    "--pdb": "there is no terminal on a worker",
}
#: Options with a value that are this machine's: where its run and its JUnit file go.
_HERE = ("--reports", "--junitxml", "--junit-xml")


def address_in(args: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the value of ``--on`` if it is given, and the other arguments."""
    address, rest = None, []
    given = iter(args)
    for arg in given:
        if arg == ON:
            address = next(given, "")
        elif arg.startswith(f"{ON}="):
            address = arg.removeprefix(f"{ON}=")
        else:
            rest.append(arg)
    return address, rest


def run_on(address: str, args: Sequence[str], for_pytest: Sequence[str]) -> int:
    """Run on a cluster what pytest collects when called with ``for_pytest``; return the exit code.

    ``args`` are what the user gave, for the workers.

    :class:`UsageError` for options that a cluster has no use for, or if nothing is collected.
    """
    from harness.pytest_plugin.cluster.controller import connected
    from harness.pytest_plugin.cluster.controller import run_on as on_cluster
    from harness.results.writer import free_folder, point_latest

    for arg in args:
        name = arg.partition("=")[0]
        if name in _REFUSED or (name.startswith("-n") and name[2:].isdigit()):
            raise UsageError(
                f"{name} has no meaning with {ON}: {_REFUSED.get(name, _REFUSED['-n'])}"
            )
    here, options = split_options(args)
    cases, paths, packaged = collected(for_pytest)
    options = [arg for arg in options if arg not in paths]
    reports = Path(here.get("--reports", "reports")).absolute()
    with connected(address) as client:
        reports.mkdir(parents=True, exist_ok=True)
        folder = free_folder(reports, datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"))
        try:
            gathered = on_cluster(
                client, cases, options, reports, packaged=packaged, name=folder.name, say=say
            )
        finally:
            with contextlib.suppress(OSError):
                folder.rmdir()  # nothing was merged into it
    for sentence in gathered.lost:
        click.echo(f"lost {sentence}", err=True)
    if gathered.folder is not None:
        point_latest(reports, gathered.folder.name)
        _show(gathered.folder, here.get("--junitxml") or here.get("--junit-xml"))
    return gathered.exit_code


def split_options(args: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options that are this machine's with their values, and the others."""
    here: dict[str, str] = {}
    rest: list[str] = []
    given = iter(args)
    for arg in given:
        name, equals, value = arg.partition("=")
        if name in _HERE:
            here[name] = value if equals else next(given, "")
        elif name == "--topology":
            rest.append(f"--topology={_topology_text(value if equals else next(given, ''))}")
        else:
            rest.append(arg)
    return here, rest


def _topology_text(written: str) -> str:
    """Return what a topology's file says, for workers that have none; else what was written."""
    from harness.faults.topology_file import given_topology

    _, file = given_topology(written)
    return written if file is None else file.text


def collected(args: Sequence[str]) -> tuple[list[str], set[str], bool]:
    """Return the cases that pytest collects for ``args``, which of these are paths, and whether
    the cases are packaged ones; a case's file is relative to this folder or theirs.
    """
    import pytest

    from harness.pytest_plugin.cluster.job import packaged_project

    collector = _Collector()
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = pytest.main([*args, "-n", "0", "--collect-only", "-q"], plugins=[collector])
    if code != pytest.ExitCode.OK or not collector.cases:
        said = output.getvalue().strip().splitlines()[-10:]
        raise UsageError("pytest collects no trial for that", hint="\n".join(said) or None)
    files = {path for path, _ in collector.cases}
    own = all(path.is_relative_to(Path.cwd()) for path in files)
    base = Path.cwd() if own else packaged_project()
    try:
        cases = [f"{path.relative_to(base).as_posix()}{rest}" for path, rest in collector.cases]
    except ValueError as error:
        raise UsageError(
            "scenarios outside this folder cannot be found by workers",
            hint="change to the project's folder, and start the workers in theirs",
        ) from error
    return cases, set(collector.paths), not own


class _Collector:
    """Notes what is to run: the file of a case, and the rest of its node id."""

    def __init__(self) -> None:
        self.cases: list[tuple[Path, str]] = []
        self.paths: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.cases = [
            (item.path, item.nodeid[len(item.nodeid.partition("::")[0]) :])
            for item in session.items
        ]
        self.paths = list(session.config.option.file_or_dir)


def _show(folder: Path, junit: str | None) -> None:
    from rich.console import Console

    from harness.report import render_summary, write_report
    from harness.results import read_run
    from harness.results.merge import JUNIT

    if junit and (folder / JUNIT).is_file():
        shutil.copyfile(folder / JUNIT, junit)
    Console().print(render_summary(read_run(folder)), crop=False)
    click.echo(f"report: {write_report(folder)}")
