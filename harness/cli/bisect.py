"""``swarm-chaos bisect``: find the first release of Docker Engine in which a scenario fails."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.output import json_option, reports_option, say
from harness.cli.pytest_call import scenarios_folder
from harness.engine import KNOWN, release_key, resolve
from harness.errors import EXIT_TROUBLE, HarnessError, UsageError

if TYPE_CHECKING:
    from harness.results.statistics.bisection import Bisection
    from harness.trial import TrialRecord

#: Trials in a row without a verdict after which something other than luck is wrong.
_MOST_UNKNOWN = 4


@click.command()
@click.argument("scenario")
@click.option("--good", required=True, metavar="NAME", help="An engine in which it passes.")
@click.option("--bad", required=True, metavar="NAME", help="A later one in which it fails.")
@click.option(
    "--among",
    metavar="NAME,…",
    help="The engines between them, by any name that --engine takes (Debian's releases).",
)
@click.option(
    "--components",
    is_flag=True,
    help="Between the two, exchange one component after the other instead: runc, containerd, and "
    "with --bad the rest.",
)
@click.option("--certainty", type=click.FloatRange(0.5, 0.999), default=0.95, show_default=True)
@click.option("--most", type=click.IntRange(1), default=40, show_default=True, help="Trials.")
@click.option("--measure", metavar="NAME", help="Count a trial as failed by this measure alone.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="The first.")
@click.option("--lab", metavar="LAB", default="auto", show_default=True)
@reports_option
@json_option
@click.pass_context
def bisect(
    ctx: click.Context,
    scenario: str,
    good: str,
    bad: str,
    among: str | None,
    components: bool,
    certainty: float,
    most: int,
    measure: str | None,
    seed: int,
    lab: str,
    reports: Path,
    as_json: bool,
) -> None:
    """Find the first engine between --good and --bad in which SCENARIO fails.

    SCENARIO is a file and a test of it, `test_x.py::test_y`, or the path of one's own. A trial may
    pass or fail by luck, so every engine gets trials, with new seeds, until it is certain enough
    where the change is; each time the engine is taken whose trial is expected to say most. Exit
    code 0: found; 2: not found with that many trials, or one of the two is not what it was called.
    """
    from harness.results.statistics.bisection import Bisection

    if components and among is not None:
        raise UsageError("--among and --components name different engines between the two")
    names = components_between(good, bad) if components else engines_between(good, bad, among)
    where = scenario_path(scenario)
    bisection = Bisection(names)
    seeds = Counter[str]()
    unknown = 0
    while bisection.found(certainty) is None and sum(seeds.values()) < most:
        place = bisection.next_version()
        engine = names[place]
        failed = _trial(where, engine, seed + seeds[engine], lab, reports, measure)
        seeds[engine] += 1
        unknown = unknown + 1 if failed is None else 0
        if unknown == _MOST_UNKNOWN:
            raise HarnessError(
                f"{unknown} trials in a row gave no verdict",
                hint=f"look at them: swarm-chaos report {reports}/latest",
            )
        if failed is not None:
            bisection.record(place, failed=failed)
        outcome = {True: "fails", False: "passes", None: "gives no verdict"}[failed]
        say(f"trial {sum(seeds.values())}: {engine} {outcome}; {_likeliest(bisection)}")
    found = bisection.found(certainty)
    if as_json:
        click.echo(json.dumps(_facts(bisection, found, certainty), indent=2))
    else:
        click.echo("\n".join(conclusion(bisection, found)))
    ctx.exit(0 if found is not None and 0 < found < len(names) else EXIT_TROUBLE)


def engines_between(good: str, bad: str, among: str | None) -> list[str]:
    """Return the engines to try, in order: ``good``, those between, ``bad``.

    Those named in ``among`` keep their order. By default they are Debian's releases between the
    two. :class:`UsageError` for a name that means nothing, or ends that are one engine.
    """
    ends = [_by_version(good), _by_version(bad)]
    for name in (*ends, *(among.split(",") if among else ())):
        resolve(name)
    if ends[0] == ends[1]:
        raise UsageError("--good and --bad are the same engine")
    if among is not None:
        between = [name for each in among.split(",") if (name := each.strip())]
    else:
        between = _known_between(*ends)
    return [ends[0], *(name for name in between if name not in ends), ends[1]]


def components_between(good: str, bad: str) -> list[str]:
    """Return mixes of two engines, in order: ``good``, with the other's runc, with its containerd
    too, and ``bad`` itself, which has its dockerd and its root file system as well.

    So the first that fails names the component. :class:`UsageError` as :func:`engines_between`.
    """
    first, last = engines_between(good, bad, "")
    mixes = [resolve(f"{first}+runc={last}"), resolve(f"{first}+containerd={last}+runc={last}")]
    return [first, *(mix.name for mix in mixes), last]


def _known_between(good: str, bad: str) -> list[str]:
    """Return Debian's releases between two; none if one of them has no version in its name."""
    try:
        low, high = sorted((release_key(good), release_key(bad)))
    except ValueError:
        return []
    found = [known.version for known in KNOWN if low < release_key(known.version) < high]
    ordered = sorted(found, key=release_key)
    return ordered if release_key(good) == low else ordered[::-1]


def _by_version(name: str) -> str:
    """Return what an alias stands for today, so that one engine has one name."""
    return next((known.version for known in KNOWN if name in known.aliases), name)


def scenario_path(scenario: str) -> str:
    """Return the node id of a scenario; :class:`UsageError` if its file is not there."""
    file, separator, test = scenario.partition("::")
    if not separator:
        raise UsageError(
            f"{scenario!r} is not a single scenario",
            hint="write FILE::TEST, as `swarm-chaos scenarios` shows them",
        )
    for path in (Path(file), *(scenarios_folder(packaged=each) / file for each in (False, True))):
        if path.is_file():
            return f"{path}::{test}"
    raise UsageError(f"there is no file {file}, neither here nor among the scenarios")


def _trial(
    scenario: str, engine: str, seed: int, lab: str, reports: Path, measure: str | None
) -> bool | None:
    """Run one trial; return whether it failed, None if that cannot be said.

    In a process of its own: engines, threads and namespaces of one trial must not reach another.
    """
    from harness.results import latest_run, list_runs, read_run

    before = set(list_runs(reports))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "harness.cli", "run", scenario, f"--engine={engine}"),
            *(f"--seed={seed}", f"--lab={lab}", f"--reports={reports.absolute()}", "-q"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if set(list_runs(reports)) == before:
        raise UsageError(
            f"{scenario} did not run with engine {engine}",
            hint="\n".join((done.stdout + done.stderr).strip().splitlines()[-5:]),
        )
    verdicts = [failed_by(trial.record, measure) for trial in read_run(latest_run(reports)).trials]
    if True in verdicts:
        return True
    return None if None in verdicts or not verdicts else False


def failed_by(record: TrialRecord, measure: str | None) -> bool | None:
    """Return whether a trial failed, by all its measures or by one; None if it cannot be said."""
    if record.verdict == "unknown":
        return None
    if measure is None:
        return record.verdict == "fail"
    held = [m.ok for m in record.measures if measure in (m.name, m.expectation)]
    if not held:
        names = ", ".join(m.name for m in record.measures if m.bound)
        raise UsageError(f"the trial has no measure {measure!r}", hint=f"it has: {names}")
    return None if None in held else False in held


def _likeliest(bisection: Bisection) -> str:
    order = bisection.probabilities.argsort()[::-1][:3]
    return ", ".join(f"{_place(bisection, i)} {bisection.probabilities[i]:.0%}" for i in order)


def _place(bisection: Bisection, place: int) -> str:
    if place == len(bisection.versions):
        return "none fails more"
    return "all fail" if place == 0 else f"since {bisection.versions[place]}"


def conclusion(bisection: Bisection, found: int | None) -> Iterator[str]:
    """Yield what was found, how certain that is, and the trials that it rests on."""
    names, chance = bisection.versions, bisection.probabilities
    likeliest = int(chance.argmax())
    certain = f"{chance[likeliest]:.1%} certain"
    if found is None:
        yield f"not certain enough: most likely {_place(bisection, likeliest)!r} ({certain})"
        yield "  -> more trials decide it: --most"
    elif found == 0:
        yield f"{names[0]} was called good, but it fails too ({certain})"
    elif found == len(names):
        yield f"{names[-1]} was called bad, but it does not fail more than the others ({certain})"
    else:
        yield f"{names[found]} is the first that fails; {names[found - 1]} does not ({certain})"
    for name, tally in zip(names, bisection.tallies, strict=True):
        yield f"  {name}: failed in {tally.failed} of {tally.trials} trials"


def _facts(bisection: Bisection, found: int | None, certainty: float) -> dict[str, object]:
    places = [_place(bisection, place) for place in range(len(bisection.probabilities))]
    inside = found is not None and 0 < found < len(bisection.versions)
    return {
        "first_bad": bisection.versions[found] if inside and found is not None else None,
        "certainty": certainty,
        "probabilities": dict(zip(places, bisection.probabilities.tolist(), strict=True)),
        "engines": [
            {"engine": name, "failed": tally.failed, "passed": tally.passed}
            for name, tally in zip(bisection.versions, bisection.tallies, strict=True)
        ],
    }
