"""``swarm-chaos try``: what users notice of a stack of one's own when its swarm is broken."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import click

from harness.cli.compose_question import Question, heeded, question_of
from harness.cli.output import say
from harness.cli.run import exit_code_of
from harness.errors import TrialError, UsageError
from harness.files import write_atomically
from harness.images.workload_images import WORKLOAD_TAGS
from harness.lab import probe_features
from harness.swarm import Workload
from harness.swarm.compose_reader import read_workload

ANSWER = "README.md"
COMPOSE = "compose.yml"


@click.command("try")
@click.argument("compose", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--name", metavar="NAME", help="The stack's name (its folder's).")
@click.option(
    "--images",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Its images, as `docker save` writes them.",
)
@click.option("--engine", metavar="NAME", default="stable", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--lab", metavar="LAB", default="auto", show_default=True)
@click.option("--topology", metavar="3m2w", help="Its nodes (3m2w).")
@click.option("-k", "only", metavar="TEXT", help="Only experiments whose name has this in it.")
@click.option("--into", type=click.Path(path_type=Path), help="Where to (try-NAME).")
@click.pass_context
def try_stack(
    ctx: click.Context,
    compose: Path,
    name: str | None,
    images: Path | None,
    engine: str,
    seed: int,
    lab: str,
    topology: str | None,
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
    prepared = prepare(compose, called, mesh=lab != "namespaces" or probe_features().mesh)
    check_images(prepared.workload, images)
    if prepared.left_out:
        say(f"what a stack does not heed is left out: {', '.join(prepared.left_out)}")
    if prepared.question.entry is None:
        say("no service publishes a port at every node: tasks are watched, and no users")
    _write(folder, prepared, images)
    options = [f"--engine={engine}", f"--seed={seed}", f"--lab={lab}"]
    options += [f"--topology={topology}"] if topology else []
    options += ["-k", only] if only else ["--controls"]
    code = _run(folder, options)
    _answer(folder, called)
    ctx.exit(code)


@dataclass(frozen=True)
class Prepared:
    """A stack to be tried: what it describes, its files by path, and what is asked of it."""

    workload: Workload
    files: dict[str, bytes]
    question: Question
    left_out: list[str]


def prepare(compose: Path, name: str, *, mesh: bool) -> Prepared:
    """Read a compose file and the files that it names; :class:`UsageError` for what is wrong."""
    try:
        written = compose.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the compose file {compose} cannot be read: {error}") from None
    text, wishes, left_out = heeded(written, compose)
    files = {COMPOSE: text.encode()}

    def contents(beside: str) -> bytes:
        inner = Path(beside)
        if inner.is_absolute() or ".." in inner.parts:
            raise OSError(0, "it has to lie in the compose file's folder or below")
        files[beside] = (compose.parent / inner).read_bytes()
        return files[beside]

    workload = read_workload(name, text, str(compose), contents)
    question = question_of(workload, wishes, mesh=mesh)
    return Prepared(workload, files, question, left_out)


def check_images(workload: Workload, archive: Path | None) -> None:
    """Refuse a stack whose images nobody brings: nodes reach no registry."""
    there = set(WORKLOAD_TAGS.values())
    if archive is not None:
        there |= tags_in(archive)
    missing = sorted({full_name(each.image) for each in workload.services} - there)
    if missing:
        raise UsageError(
            f"nodes of a lab reach no registry, and nobody brings {', '.join(missing)}",
            hint=f"docker save {' '.join(missing)} -o images.tar, then --images images.tar",
        )


def full_name(image: str) -> str:
    """Return an image's name with its tag: ``nginx`` is ``nginx:latest``; a digest is left out."""
    name = image.partition("@")[0]
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def tags_in(archive: Path) -> set[str]:
    """Return the names of the images in an archive of `docker save`.

    Raises :class:`UsageError` if it is none.
    """
    try:
        with tarfile.open(archive) as tar:
            manifest = tar.extractfile("manifest.json")
            images = json.load(manifest) if manifest else []
        return {tag for image in images for tag in image.get("RepoTags") or ()}
    except (tarfile.TarError, KeyError, ValueError, AttributeError, EOFError) as error:
        raise UsageError(
            f"{archive} is not an archive of images: {error}",
            hint="make one with `docker save NAME... -o images.tar`",
        ) from None


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


def _answer(folder: Path, name: str) -> None:
    from harness.report.battery import answer
    from harness.results import latest_run, list_runs, read_run

    if not list_runs(folder / "reports"):
        return
    text = answer(read_run(latest_run(folder / "reports")), name)
    path = folder / ANSWER
    try:
        write_atomically(path, text)
    except OSError as error:
        raise TrialError(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"\n{text}\nanswer: {path}")
