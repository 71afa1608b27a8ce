"""``swarm-chaos run --until-decided``: draw trials of two engines until it is decided how they
differ.

Round after round, each an ordinary run of one scenario in a process of its own; after each the
engines are compared by evidence that may be looked at at any time
(:mod:`harness.results.statistics.sequential`). All rounds become one run.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, NamedTuple

import click

from harness.cli.output import reports_option, say, show
from harness.errors import EXIT_OK, EXIT_TROUBLE, HarnessError, UsageError

if TYPE_CHECKING:
    from harness.results import Run
    from harness.results.comparison import Comparison, Finding
    from harness.results.comparison_sides import Side

OPTION = "--until-decided"

DECIDED = "all is decided"
"""The one reason to stop that is a success."""

#: Rounds in a row without a new pair of trials after which something other than luck is wrong.
_MOST_FRUITLESS = 3

_PATIENCE = 120.0  # s that a round gets to heal its faults and to write what it has

#: What each round sets itself, and what cannot be compared.
_REFUSED = {
    "--trials": "how many trials it takes is what is found out",
    "--controls": "controls are not compared",
    "--shard": "rounds depend on each other; run it on one machine",
}


@dataclass(frozen=True)
class Request:
    """What was asked for. ``passed``: what each round is given besides."""

    engines: tuple[str, str]
    seed: int
    reports: Path
    continued: tuple[Path, ...]
    passed: tuple[str, ...]


class Round(NamedTuple):
    """Trials to run: of these scenarios, with both engines, and so many seeds from the first."""

    scenarios: tuple[str, ...]
    pairs: int
    seed: int


def _budget(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    from harness.faults.parameter import DURATION

    if value is None:
        return None
    budget = replace(DURATION, name="budget", example="2h, 90min or 1800s")
    return float(budget.between("1s").read(value))


@click.command("run", context_settings={"ignore_unknown_options": True})
@click.option(OPTION, is_flag=True)
@click.option("--budget", callback=_budget)
@click.option("--continue", "continued", multiple=True, type=click.Path(path_type=Path))
@click.option("--engine", "engines", multiple=True)
@click.option("--seed", type=click.IntRange(0), default=1)
@reports_option
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run_until_decided(
    ctx: click.Context,
    until_decided: bool,  # noqa: ARG001 - how this command was found
    budget: float | None,
    continued: tuple[Path, ...],
    engines: tuple[str, ...],
    seed: int,
    reports: Path,
    args: tuple[str, ...],
) -> None:
    """Draw trials of two engines until it is decided how they differ, or the budget is used up."""
    from harness.report.comparing import comparison_table
    from harness.results.find_run import find_run

    if budget is None:
        raise UsageError(f"{OPTION} needs a budget", hint="--budget 2h, say")
    for option, why in _REFUSED.items():
        if any(arg.partition("=")[0] == option for arg in args):
            raise UsageError(f"{OPTION} and {option} do not go together: {why}")
    runs = tuple(find_run(run, reports) for run in continued)
    request = Request(two_engines(engines, runs), seed, reports, runs, args)
    ended = time.monotonic() + budget
    chosen = _chosen(request)
    rounds = _Rounds(request)
    try:
        reason = decide(request, chosen, rounds, ended)
    finally:
        folder = rounds.merged()
    comparison = rounds.comparison
    if comparison is not None:
        show(comparison_table(comparison))
    click.echo(f"stopped: {reason}")
    if folder is not None:
        click.echo(f"run: {folder}")
    ctx.exit(EXIT_OK if reason == DECIDED else EXIT_TROUBLE)


def two_engines(written: Sequence[str], runs: Sequence[Path]) -> tuple[str, str]:
    """Return the engines to compare, the baseline first: those named, else those of ``runs``.

    Raises :class:`UsageError` unless they are two, and known.
    """
    from harness.engine import resolve
    from harness.lab.topology import ROLES
    from harness.results import read_run
    from harness.results.comparison_sides import sides_by_engine

    names = list(dict.fromkeys(name.strip() for each in written for name in each.split(",")))
    if not names and runs:
        names = [side.name for side in sides_by_engine([read_run(run) for run in runs])]
    if any(name.rpartition(":")[2] in ROLES and ":" in name for name in names):
        raise UsageError(f"{OPTION} compares engines, not the roles of one swarm")
    if len(names) != 2:
        raise UsageError(
            f"{OPTION} compares two engines, and {len(names) or 'none'} "
            f"{'is' if len(names) < 2 else 'are'} named",
            hint="--engine 26.1.5,28.5.2: the first is the baseline",
        )
    for name in names:
        resolve(name)
    return names[0], names[1]


def decide(request: Request, chosen: Sequence[str], rounds: _Rounds, ended: float) -> str:
    """Run rounds until all is decided or ``ended``, by the monotonic clock; say why it stopped."""
    from harness.results.next_trials import next_trials

    fruitless = 0
    while True:
        left = ended - time.monotonic()
        comparison = rounds.comparison
        undecided = _undecided(comparison, chosen) if comparison else []
        fresh = tuple(name for name in chosen if name not in rounds.tried)
        if not fresh and not undecided:
            unseen = _unseen(comparison, chosen)
            return f"no pair of usable trials of {', '.join(unseen)}" if unseen else DECIDED
        if fresh:
            planned = Round(fresh, 1, request.seed)
        else:
            seconds = rounds.seconds()
            found = next_trials(undecided, seconds, left=left, among=chosen)
            if found is None:
                return (
                    f"the budget is used up, and {_measures(undecided)} not decided"
                    if left <= 0
                    else f"no pair of trials fits into the last {left:.0f} s of the budget, "
                    f"and {_measures(undecided)} not decided"
                )
            planned = Round((found.scenario,), found.pairs, rounds.next_seed(found.scenario))
        if left <= 0:
            return f"the budget is used up, and {_measures(undecided)} not decided"
        before = rounds.pairs
        rounds.run(planned, left)
        say(_progress(planned, rounds, chosen, ended - time.monotonic()))
        fruitless = fruitless + 1 if rounds.pairs == before else 0
        if fruitless == _MOST_FRUITLESS:
            raise HarnessError(
                f"{fruitless} rounds in a row brought no pair of trials with a verdict",
                hint=f"look at their reasons: swarm-chaos report {request.reports}/latest",
            )


def _progress(planned: Round, rounds: _Rounds, chosen: Sequence[str], left: float) -> str:
    comparison = rounds.comparison
    undecided = _undecided(comparison, chosen) if comparison else []
    what = planned.scenarios[0] if len(planned.scenarios) == 1 else (
        f"{len(planned.scenarios)} scenarios"
    )  # fmt: skip
    pairs = "1 pair" if planned.pairs == 1 else f"{planned.pairs} pairs"
    return (
        f"round {rounds.count}: {what}, {pairs} from seed {planned.seed}; "
        f"{_measures(undecided)} not decided, {max(0.0, left) / 60:.0f} min left"
    )


def _undecided(comparison: Comparison, chosen: Sequence[str]) -> list[Finding]:
    return [
        finding
        for finding in comparison.pairings[0].findings
        if finding.outcome == "inconclusive" and finding.scenario in chosen
    ]


def _unseen(comparison: Comparison | None, chosen: Sequence[str]) -> list[str]:
    """The scenarios of which nothing could be compared: not decided, though nothing is open."""
    findings = comparison.pairings[0].findings if comparison else ()
    return sorted(set(chosen) - {finding.scenario for finding in findings})


def _measures(findings: Sequence[object]) -> str:
    return "1 measure is" if len(findings) == 1 else f"{len(findings)} measures are"


class _Rounds:
    """The rounds so far, and the comparison of all their trials."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._stored = [_read(run) for run in request.continued]
        self._folder: Path | None = None
        self._spent = 0.0
        self.count = 0
        self.comparison = self._compare()
        """The engines compared; None while one of them has no trial."""
        self.tried = {
            trial.record.inputs.scenario
            for side in self._sides()
            for trial in side.trials
        }  # fmt: skip

    def run(self, planned: Round, left: float) -> None:
        """Run a round, for ``left`` seconds at most."""
        if self._folder is None:
            self._request.reports.mkdir(parents=True, exist_ok=True)
            self._folder = Path(mkdtemp(prefix=".until-decided-", dir=self._request.reports))
        self._spent += run_round(self._request, planned, self._folder, left)
        self.count += 1
        self.comparison = self._compare()
        self.tried |= set(planned.scenarios)

    @property
    def pairs(self) -> int:
        """How many trials the comparison rests on."""
        findings = self.comparison.pairings[0].findings if self.comparison else ()
        return sum(finding.trials for finding in findings)

    def _compare(self) -> Comparison | None:
        from harness.results.comparison import compare_in_sequence

        sides = self._sides()
        return compare_in_sequence(sides, by="engine") if len(sides) == 2 else None

    def seconds(self) -> dict[str, float]:
        """Return how long a pair of trials of each scenario takes here."""
        from harness.results.next_trials import seconds_of_pairs

        own = sum(t.record.seconds for run in self._new() for t in run.trials)
        pace = self._spent / own if own else 1.0
        return seconds_of_pairs(self._sides(), pace=pace)

    def next_seed(self, scenario: str) -> int:
        """Return the first seed that no trial of a scenario has had."""
        seeds = [
            trial.record.inputs.seed
            for side in self._sides()
            for trial in side.trials
            if trial.record.inputs.scenario == scenario
        ]
        return max([self._request.seed - 1, *seeds]) + 1

    def merged(self) -> Path | None:
        """Make one run of all rounds; None if there was no trial."""
        from harness.report import write_report
        from harness.results.merge import merge_runs
        from harness.results.writer import free_folder, point_latest

        if self._folder is None:
            return None
        runs = [run.folder for run in self._new()]
        into = None
        if runs:
            into = free_folder(self._request.reports, runs[0].name)
            merge_runs(runs, into)
            point_latest(self._request.reports, into.name)
            write_report(into)
        shutil.rmtree(self._folder)
        self._folder = None
        self._stored += [] if into is None else [_read(into)]
        return into

    def _new(self) -> list[Run]:
        from harness.results import list_runs

        return [_read(run) for run in list_runs(self._folder)] if self._folder else []

    def _sides(self) -> list[Side]:
        """Return the engines' sides, the baseline first; one that has no trial is not there."""
        from harness.results.comparison_sides import sides_by_engine

        runs = [*self._stored, *self._new()]
        versions = {
            name: facts.version
            for run in runs
            for trial in run.trials
            if (facts := trial.record.inputs.engine)
            for name in (facts.name, facts.version)
        }
        wanted = [versions[name] for name in self._request.engines if name in versions]
        if len(wanted) > len(set(wanted)):
            raise UsageError(f"{' and '.join(self._request.engines)} are one engine: {wanted[0]}")
        sides = {side.name: side for side in sides_by_engine(runs)}
        return [sides[version] for version in wanted]


def _read(folder: Path) -> Run:
    from harness.results import read_run

    return read_run(folder)


def _chosen(request: Request) -> tuple[str, ...]:
    """Return the ids of the scenarios that pytest would run; :class:`UsageError` if it would not.

    Of runs that are continued, those that they have.
    """
    import pytest

    from harness.cli.pytest_call import pytest_arguments
    from harness.pytest_plugin.markers import is_scenario, scenario_id

    class Collected:
        ids: tuple[str, ...] = ()

        def pytest_collection_finish(self, session: pytest.Session) -> None:
            self.ids = tuple(scenario_id(item) for item in session.items if is_scenario(item))

    found = Collected()
    asked = [*request.passed, f"--engine={','.join(request.engines)}", "--collect-only", "-q"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main(pytest_arguments(asked), plugins=[found])
    ids = tuple(dict.fromkeys(found.ids))
    if request.continued:
        stored = {t.record.inputs.scenario for run in request.continued for t in _read(run).trials}
        ids = tuple(name for name in ids if name in stored)
    if code or not ids:
        raise UsageError(
            "there is no scenario to run",
            hint="\n".join(said.getvalue().strip().splitlines()[-5:]) or None,
        )
    return ids


def run_round(request: Request, planned: Round, reports: Path, left: float) -> float:
    """Run a round in a process of its own; return the seconds that it took.

    Once ``left`` seconds are over it is asked to end, and keeps the trials that it has finished.
    """
    from harness.results import list_runs

    began = time.monotonic()
    before = list_runs(reports)
    log = reports / "round.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "harness.cli", "run", *request.passed),
                *_at_once(request.passed),
                *("-p", "harness.pytest_plugin.only_scenarios"),
                *(f"--only-scenario={scenario}" for scenario in planned.scenarios),
                *(f"--engine={','.join(request.engines)}", f"--trials={planned.pairs}"),
                *(f"--seed={planned.seed}", f"--reports={reports.absolute()}", "-q"),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        over = False
        try:
            process.wait(left)
        except subprocess.TimeoutExpired:
            over = True
        finally:
            _end(process)
    if not over and list_runs(reports) == before:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise UsageError("a round ran no trial", hint="\n".join(lines[-5:]) or None)
    return time.monotonic() - began


def _at_once(passed: Sequence[str]) -> tuple[str, ...]:
    """Return the option for as many trials at once as there can be; nothing if that was said."""
    from harness.cli.pytest_call import one_kernel

    said = any(arg.startswith(("-n", "--numprocesses")) for arg in passed)
    return () if said or one_kernel(passed) else ("-n", "auto")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have a round heal its faults, write what it has, and end."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
