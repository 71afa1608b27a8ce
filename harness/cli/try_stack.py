"""``swarm-chaos try``: what users notice of a stack of one's own when its swarm is broken."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import click

from harness.cli.compose_question import heeded, question_of
from harness.cli.output import say
from harness.cli.pytest_call import exit_code_of
from harness.errors import TrialError, UsageError
from harness.faults.topology_file import given_swarm
from harness.files import write_atomically
from harness.images import WORKLOAD_TAGS, Cache
from harness.images.stack_images import Reference, gathered, source_at
from harness.lab import Topology, probe_features
from harness.pytest_plugin.battery import EXPERIMENTS, Question
from harness.pytest_plugin.battery.experiments import not_applicable
from harness.pytest_plugin.markers import lab_called, release_after
from harness.swarm import Workload
from harness.swarm.compose_reader import read_workload

ANSWER = "README.md"
COMPOSE = "compose.yml"
DEFAULT_TOPOLOGY = Topology(3, 2)


@click.command("try")
@click.argument("compose", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--name", metavar="NAME", help="The stack's name (its folder's).")
@click.option(
    "--images",
    metavar="SOURCE",
    multiple=True,
    help="Where its images are: a tar of `docker save`, an OCI layout, an engine's socket, or "
    "`docker` for the engine of DOCKER_HOST. May be given more than once.",
)
@click.option("--engine", metavar="NAME", help="Docker Engine (stable).")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--lab", metavar="LAB", default="auto", show_default=True)
@click.option("--topology", metavar="NODES", default="3m2w", show_default=True)
@click.option("-k", "only", metavar="TEXT", help="Only experiments whose name has this in it.")
@click.option("--into", type=click.Path(path_type=Path), help="Where to (try-NAME).")
@click.pass_context
def try_stack(
    ctx: click.Context,
    compose: Path,
    name: str | None,
    images: tuple[str, ...],
    engine: str | None,
    seed: int,
    lab: str,
    topology: str,
    only: str | None,
    into: Path | None,
) -> None:
    """Deploy the stack of COMPOSE and break the swarm under it, one experiment after the other.

    Each experiment (a leader killed, a worker lost, packets lost, a node drained, a rolling update
    ...) has users who ask the stack's published port, and is held against the stack left alone. The
    folder try-NAME gets the answer, README.md, the run's pages, and the experiments as scenarios to
    go on from. `x-chaos` in the file says what is expected. Exit codes are those of a run.
    """
    called = name or compose.resolve().parent.name
    folder = into or Path(f"try-{called}")
    if folder.exists():
        raise UsageError(f"{folder} exists already", hint="move it away, or name another --into")
    nodes, engine, file = given_swarm(topology, engine)
    prepared = prepare(
        compose,
        called,
        mesh=lab_called(lab) == "microvm" or probe_features().mesh,
        topology=nodes,
        next_engine=release_after(engine),
    )
    archive = images_of(prepared, images, Cache(say=say))
    if prepared.left_out:
        say(f"what a stack does not heed is left out: {', '.join(prepared.left_out)}")
    if prepared.question.entry is None:
        say("no service publishes a port at every node: tasks are watched, and no users")
    _write(folder, prepared, archive)
    options = [f"--engine={engine}", f"--seed={seed}", f"--lab={lab}"]
    options.append(f"--topology={file.text if file else topology}")
    options += ["-k", only] if only else ["--controls"]
    code = _run(folder, options)
    _answer(folder, prepared.question)
    ctx.exit(code)


@dataclass(frozen=True)
class Prepared:
    """A stack to be tried: what it describes, its files by path, and what is asked of it."""

    workload: Workload
    files: dict[str, bytes]
    question: Question
    left_out: list[str]
    images: list[Reference]


def prepare(
    compose: Path,
    name: str,
    *,
    mesh: bool,
    topology: Topology = DEFAULT_TOPOLOGY,
    next_engine: str | None = None,
) -> Prepared:
    """Read a compose file and the files that it names; :class:`UsageError` for what is wrong.

    ``mesh``: whether the lab routes a published port from every node. ``next_engine`` is the one
    that an upgrade leads to, None without one.
    """
    try:
        written = compose.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the compose file {compose} cannot be read: {error}") from None
    files: dict[str, bytes] = {}

    def beside_it(name: str) -> bytes:
        inner = Path(name)
        if inner.is_absolute() or ".." in inner.parts:
            raise OSError(0, "it has to lie in the compose file's folder or below")
        return (compose.parent / inner).read_bytes()

    def contents(name: str) -> bytes:
        files[name] = beside_it(name)
        return files[name]

    found = heeded(written, compose, beside_it, os.environ)
    files[COMPOSE] = found.text.encode()
    workload = read_workload(name, found.text, str(compose), contents)
    question = question_of(
        workload,
        found.wishes,
        mesh=mesh,
        topology=topology,
        not_applicable=not_applicable(workload, topology, next_engine=next_engine),
    )
    return Prepared(workload, files, question, found.left_out, found.images)


def images_of(prepared: Prepared, sources: Sequence[str], cache: Cache) -> Path | None:
    """Return an archive of the stack's images, but for the harness's own, which nodes have.

    None if it has no others. Raises :class:`UsageError` for those that nobody brings.
    """
    wanted = [each for each in prepared.images if each.local not in WORKLOAD_TAGS.values()]
    if not wanted:
        return None
    places = [source_at(each, os.environ.get("DOCKER_HOST", "")) for each in sources]
    return gathered(wanted, places, cache, say=say)


def _write(folder: Path, prepared: Prepared, images: Path | None) -> None:
    """Write the experiments and what they need; nothing is left if that fails."""
    starter = resources.files("harness.cli") / "starter"
    files = {
        **prepared.files,
        "asked.json": prepared.question.json(),
        "pytest.ini": (starter / "pytest.ini").read_bytes(),
        "test_battery.py": (starter / "test_battery.py.txt").read_bytes(),
    }
    try:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if images is not None:
            shutil.copyfile(images, folder / "images.tar")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise TrialError(f"cannot write {folder}: {error.strerror}") from error


def _run(folder: Path, options: list[str]) -> int:
    import pytest

    from harness.pytest_plugin.foreign_plugins import CALLED_WITH

    arguments = [*CALLED_WITH, "-p", "no:cacheprovider", str(folder), *options]
    return exit_code_of(int(pytest.main([*arguments, f"--reports={folder / 'reports'}"])))


def _answer(folder: Path, question: Question) -> None:
    from harness.report.battery import answer
    from harness.results import latest_run, list_runs, read_run

    if not list_runs(folder / "reports"):
        return
    titles = {name: experiment.title for name, experiment in EXPERIMENTS.items()}
    run = read_run(latest_run(folder / "reports"))
    text = answer(run, question.name, titles=titles, not_applicable=question.not_applicable)
    path = folder / ANSWER
    try:
        write_atomically(path, text)
    except OSError as error:
        raise TrialError(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"\n{text}\nanswer: {path}")
