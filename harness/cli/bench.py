"""``swarm-chaos bench``: how fast the harness is on this machine."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.cli.output import json_option, reports_option, say, show, table_of
from harness.errors import EXIT_EXPECTATION, EXIT_OK

if TYPE_CHECKING:
    from harness.bench import Metric
    from harness.bench.survival import Attempt
    from harness.lab import Topology
    from harness.vm.snapshot import Snapshot

_Command = TypeVar("_Command", bound=Callable[..., Any])

_engine = click.option(
    "--engine", default="stable", show_default=True, help="Docker Engine of all nodes."
)


def _repeated(name: str, default: int) -> Callable[[_Command], _Command]:
    return click.option(
        name,
        default=default,
        show_default=True,
        type=click.IntRange(min=1),
        help="How often each metric is measured; the median is printed.",
    )


@click.group()
def bench() -> None:
    """Measure the harness itself."""


@bench.command()
@json_option
@_engine
@click.option("--kernel", default="6.12", show_default=True, help="The guest's kernel.")
@_repeated("--runs", 3)
def microvm(as_json: bool, engine: str, kernel: str, runs: int) -> None:
    """Measure freezing and thawing a swarm of 3 managers and 2 workers, and virtual time."""
    from harness.bench.microvm import metrics, payload
    from harness.images import Cache
    from harness.lab import Topology
    from harness.snapshots.swarm_snapshot import FrozenSwarm, freeze_swarm
    from harness.vm.machine import Machine

    cache = Cache(say=say)

    def frozen(topology: Topology) -> Snapshot:
        return freeze_swarm(FrozenSwarm(engine, topology, kernel, Machine()), cache, say=say)[0]

    five, three = frozen(Topology(3, 2)), frozen(Topology(3))
    _print(metrics(five, three, payload(cache), thaws=20, runs=runs), as_json=as_json)


@bench.command()
@click.argument("folder", metavar="TRIAL", type=click.Path(path_type=Path))
@json_option
def trial(folder: Path, as_json: bool) -> None:
    """Measure where the time of TRIAL goes: CPU and virtual seconds, phase by phase.

    TRIAL is the folder of a trial that was recorded in the microVM lab; it is run again.
    """
    from harness.bench.trial import metrics
    from harness.images import Cache

    _print(metrics(folder, Cache(say=say), say), as_json=as_json)


@bench.command()
@json_option
@click.option("--kernel", default="6.12", show_default=True, help="The guest's kernel.")
@click.option("--seeds", default=4, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--scenarios",
    default=5,
    show_default=True,
    type=click.IntRange(1, 5),
    help="How many failover scenarios to run with each seed.",
)
def warm_starts(as_json: bool, kernel: str, seeds: int, scenarios: int) -> None:
    """Measure trials an hour: thawed where they begin, and as the swarm was frozen.

    Each scenario is run with each seed, both ways: 40 trials if nothing else is asked for.
    """
    from harness.bench.warm_starts import metrics
    from harness.cli.pytest_call import scenarios_folder
    from harness.images import Cache
    from harness.lab import Topology
    from harness.snapshots.payload import trial_payload
    from harness.snapshots.swarm_snapshot import FrozenSwarm, freeze_swarm
    from harness.vm.machine import Machine

    cache = Cache(say=say)
    folder = scenarios_folder(packaged=True).resolve()
    wanted = FrozenSwarm("stable", Topology(3, 2), kernel, Machine())
    snapshot = freeze_swarm(wanted, cache, say=say)[0]
    body = trial_payload(folder.parent, [folder.name], cache, say=say)
    found = metrics(snapshot, body, folder.name, seeds=seeds, scenarios=scenarios, say=say)
    _print(found, as_json=as_json)


@bench.command()
@json_option
@click.option(
    "--comparisons",
    default=400,
    show_default=True,
    type=click.IntRange(min=20),
    help="Comparisons to simulate, of ten measures each.",
)
@click.option("--seed", default=1, show_default=True, help="Seed of everything that is random.")
def statistics(as_json: bool, comparisons: int, seed: int) -> None:
    """Measure how often comparisons raise false alarms or miss a change, on simulated trials."""
    from harness.bench.statistics import metrics

    _print(metrics(comparisons, seed=seed), as_json=as_json)


@bench.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@json_option
@_repeated("--times", 1)
@reports_option
def report(run: Path | None, as_json: bool, times: int, reports: Path) -> None:
    """Measure what the pages of RUN (a folder or id; default: the latest run) cost.

    Needs neither root nor a lab.
    """
    from harness.bench.report import metrics
    from harness.results.find_run import find_run

    _print(metrics(find_run(run, reports), times=times), as_json=as_json)


@bench.command()
@json_option
@_engine
@_repeated("--runs", 5)
@click.option(
    "--lab",
    "labs",
    multiple=True,
    default=("namespaces",),
    show_default=True,
    type=click.Choice(["namespaces", "dind"]),
    help="Which labs; several are measured in turn.",
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    type=click.Choice(["3m", "3m2w", "20n"]),
    help="Which topologies (default: all).",
)
def lab(
    as_json: bool, engine: str, runs: int, labs: tuple[str, ...], shapes: tuple[str, ...]
) -> None:
    """Measure how fast labs on this kernel come up, and their nodes' memory. Needs root."""
    from harness.bench.lab import SHAPES, metrics, warm
    from harness.images import Cache
    from harness.swarm.lab_makers import MAKERS

    cache = Cache(say=say)
    makers = {name: MAKERS[name](cache, say, None) for name in labs}
    warm(makers.values(), engine)
    _print(metrics(makers, engine, runs=runs, shapes=shapes or SHAPES), as_json=as_json)


@bench.command()
@json_option
@_engine
@_repeated("--runs", 1)
@click.option(
    "--nodes",
    default="5,10,20",
    show_default=True,
    metavar="N,N",
    help="Sizes of swarms, three managers among them; three more nodes join each.",
)
def scale(as_json: bool, engine: str, runs: int, nodes: str) -> None:
    """Measure how a swarm's times and memory grow with its nodes. Needs root.

    On this kernel, whose CPUs all nodes share: compare sizes, not machines.
    """
    from harness.bench.lab import warm
    from harness.bench.scale import metrics, rows, sizes_in
    from harness.images import Cache
    from harness.swarm.lab_makers import NamespacesMaker

    sizes, maker = sizes_in(nodes), NamespacesMaker(Cache(say=say), say)
    warm([maker], engine)
    found: list[Metric] = []
    try:
        for metric in metrics(maker, engine, sizes, runs=runs, say=say):
            found.append(metric)  # noqa: PERF402 - not a list at once: some are kept on an error
    finally:  # what smaller swarms took is worth printing when a larger one does not work
        if as_json:
            _print(found, as_json=True)
        elif found:
            head, *body = rows(found)
            table = table_of(*head, right=head[1:-1])
            for row in body:
                table.add_row(*row)
            show(table)


@bench.command()
@json_option
@_engine
@_repeated("--runs", 5)
def faults(as_json: bool, engine: str, runs: int) -> None:
    """Measure how soon after its injection a fault takes effect. Needs root."""
    from harness.bench.faults import metrics
    from harness.engine import provide, resolve
    from harness.images import Cache

    provided = provide(resolve(engine), Cache(say=say), say=say)
    _print(metrics(provided, runs=runs), as_json=as_json)


@bench.command()
@json_option
@click.option(
    "--tries", default=200, show_default=True, type=click.IntRange(min=1), help="Attempts at most."
)
@click.option(
    "--seconds",
    default=86400.0,
    type=click.FloatRange(min=1),
    help="No attempt begins after as many seconds (default: a day).",
)
@click.option("--seed", default=1, show_default=True, help="Seed of everything that is random.")
@click.option(
    "--from",
    "first",
    default=0,
    type=click.IntRange(min=0),
    help="Number of the first attempt (0): with --tries 1 one is made again.",
)
@click.option(
    "--keep",
    default=Path("build/survival"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where what was printed by a command that did not survive is kept.",
)
def survival(as_json: bool, tries: int, seconds: float, seed: int, first: int, keep: Path) -> int:
    """Strike commands down at random moments, and look for what is left, and wrong. Needs root.

    Killed, ended by a signal, stopped, with a full disk, out of memory, with a bit of the cache
    flipped. Exits with 1 if a command hung, left something that `clean` does not find, ended in
    a traceback, or gave a wrong verdict.
    """
    from harness.bench.survival import Survival
    from harness.images import Cache

    made = []
    bench = Survival(seed, Cache(say=say), say, keep)
    for attempt in bench.attempts(tries, seconds, first=first):
        made.append(attempt)
        if not attempt.survived:
            say(_story(attempt))
    failed = [attempt for attempt in made if not attempt.survived]
    counts = {
        "seed": seed,
        "tried": len(made),
        "survived": len(made) - len(failed),
        "left over": sum(len(attempt.left) for attempt in made),
        "wrong verdicts": sum(len(attempt.wrong) for attempt in made),
        "hung or in a traceback": sum(bool(attempt.trouble) for attempt in made),
    }
    if as_json:
        attempts = [dataclasses.asdict(attempt) for attempt in made]
        click.echo(json.dumps({**counts, "attempts": attempts}, indent=2))
    else:
        click.echo(", ".join(f"{name} {number}" for name, number in counts.items()))
    return EXIT_EXPECTATION if failed else EXIT_OK


def _story(attempt: Attempt) -> str:
    why = "; ".join(filter(None, [attempt.trouble, *attempt.left, *attempt.wrong]))
    return (
        f"attempt {attempt.number}: {attempt.command}, {attempt.strike} at "
        f"{attempt.seconds:.1f} s: {why} {attempt.log}".rstrip()
    )


@bench.command()
@json_option
@_engine
@click.option(
    "--trials", default=50, show_default=True, type=click.IntRange(min=1), help="Trials to run."
)
def oracles(as_json: bool, engine: str, trials: int) -> None:
    """Count false alarms of what is held against every trial, without any fault. Needs root.

    Each alarm is told on standard error.
    """
    from harness.bench.oracles import metrics
    from harness.engine import provide, resolve
    from harness.images import Cache
    from harness.swarm import seed_for

    cache = Cache(say=say)
    provided = provide(resolve(engine), cache, say=say)
    seeds = seed_for(cache, say=say)(provided)
    _print(metrics(provided, seeds, trials=trials, say=say), as_json=as_json)


@bench.command()
@json_option
def lies(as_json: bool) -> None:
    """Plant lies into the instrument, and count those that no verdict falls for.

    A probe that repeats itself, a fault that does nothing, a clock that runs fast. Exit code 1 if
    one is believed.
    """
    from harness.bench.lies import metrics

    found = list(metrics())
    _print(found, as_json=as_json)
    by_name = {metric.name: metric.value for metric in found}
    if by_name["lies.caught"] < by_name["lies.planted"]:
        raise SystemExit(1)


def _print(metrics: Iterable[Metric], *, as_json: bool) -> None:
    found = list(metrics)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(metric) for metric in found], indent=2))
        return
    table = table_of("metric", "value", "unit", right=("value",))
    for metric in found:
        table.add_row(metric.name, f"{metric.value:g}", metric.unit)
    show(table)
