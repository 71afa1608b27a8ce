"""``swarm-chaos repro``: run the scenarios of a thread upstream, and bundle what they showed."""

from __future__ import annotations

import re
import shlex
import shutil
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.output import show, table_of
from harness.cli.pytest_call import exit_code_of, scenarios_folder
from harness.cli.repro_recipe import new_scenario
from harness.docgen.collection import collect
from harness.docgen.scenario import Scenario
from harness.errors import EXIT_EXPECTATION, EXIT_OK, TrialError, UsageError
from harness.files import write_atomically

if TYPE_CHECKING:
    import pytest

    from harness.results import Run

SUMMARY = "README.md"
_URL = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+)/(?:issues|pull|discussions)/(\d+).*")


@click.command()
@click.argument("thread", required=False)
@click.option("--list", "only_list", is_flag=True, help="List the threads and their scenarios.")
@click.option("--new", is_flag=True, help="Write a scenario about THREAD, of a --recipe.")
@click.option(
    "--recipe",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --new: faults, load and expectations, as in a scenario without Python.",
)
@click.option("--engine", metavar="NAME", default="stable", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--lab", metavar="LAB", default="auto", show_default=True)
@click.option("--thorough", is_flag=True, help="Run every case that names the thread.")
@click.option("--capture", is_flag=True, help="Capture the nodes' packets (needs tcpdump).")
@click.option("--controls", is_flag=True, help="Run the controls that name it too.")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help="The bundle's folder (repro-OWNER-REPO-NUMBER); with --new the scenario's (chaos).",
)
@click.option("--digest", metavar="HEX", help="The digest that the trials must have.")
@click.pass_context
def repro(
    ctx: click.Context,
    thread: str | None,
    only_list: bool,
    new: bool,
    recipe: Path | None,
    engine: str,
    seed: int,
    lab: str,
    thorough: bool,
    capture: bool,
    controls: bool,
    into: Path | None,
    digest: str | None,
) -> None:
    """Run the scenarios that name THREAD (moby/moby#35849, or its URL) and write a bundle.

    The bundle has a summary in Markdown for the thread, with the command that repeats it, and the
    run: inputs, journal, samples and each node's log. With --digest the exit code is 1 unless the
    trials are byte-identical to those that had that digest (in virtual time). With --capture each
    trial has its nodes' packets, in captures/; that is one of its inputs.
    """
    if new or recipe is not None:
        _new(thread, recipe if new else None, into or Path("chaos"))
        return
    folders = {folder: threads(collect(folder)) for folder in _folders()}
    known = {name: each for found in reversed(folders.values()) for name, each in found.items()}
    if only_list:
        _list(dict(sorted(known.items())))
        return
    if thread is None:
        raise UsageError("which thread?", hint="swarm-chaos repro --list shows those known")
    name = thread_of(thread, known)
    folder = next(folder for folder, found in folders.items() if name in found)
    if all(scenario.thorough for scenario in known[name] if not scenario.is_control):
        thorough = True
    bundle = into or Path("repro-" + re.sub(r"\W+", "-", name))
    if bundle.exists():
        raise UsageError(f"{bundle} exists already", hint="move it away, or name another --into")
    flags = {"--thorough": thorough, "--controls": controls}
    asked = [f"--engine={engine}", f"--seed={seed}", *(each for each, on in flags.items() if on)]
    captured = ["--capture-packets"] if capture else []
    code = _run(name, folder, [*asked, *captured, f"--lab={lab}"], bundle)
    again = ["swarm-chaos", "repro", name, *asked, *(["--capture"] if capture else [])]
    run = _summarize(bundle, name, again)
    if run is not None and digest is not None and code == EXIT_OK:
        code = _held_against(run, digest)
    ctx.exit(code)


def _new(thread: str | None, recipe: Path | None, folder: Path) -> None:
    if thread is None or recipe is None:
        raise UsageError(
            "a new scenario takes a thread and a recipe",
            hint="swarm-chaos repro --new moby/moby#12345 --recipe recipe.toml",
        )
    name, path = new_scenario(thread, recipe, folder)
    click.echo(f"wrote {path}")
    click.echo(f"now: swarm-chaos run {shlex.quote(str(path))} --controls, and")
    click.echo(f"     swarm-chaos repro {shlex.quote(name)} for the bundle")


def _folders() -> list[Path]:
    """Return the folders of scenarios: one's own, and those that came with the harness."""
    return list(dict.fromkeys([scenarios_folder(), scenarios_folder(packaged=True)]))


def threads(scenarios: list[Scenario]) -> dict[str, list[Scenario]]:
    """Return the scenarios by the threads that they name."""
    found: dict[str, list[Scenario]] = defaultdict(list)
    for scenario in scenarios:
        for thread in scenario.threads:
            found[thread].append(scenario)
    return dict(sorted(found.items()))


def thread_of(written: str, known: dict[str, list[Scenario]]) -> str:
    """Return the known thread that a name, a number or a URL means.

    Raises :class:`UsageError` if no scenario names it, or a number alone could mean several.
    """
    if match := _URL.fullmatch(written):
        written = f"{match[1]}#{match[2]}"
    if written in known:
        return written
    tail = written if "#" in written else f"#{written}"
    found = [name for name in known if name.endswith(tail if tail[0] == "#" else f"/{tail}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{written!r} could be {' or '.join(found)}", hint="give it in full")
    raise UsageError(
        f"no scenario names the thread {written!r}",
        hint="swarm-chaos repro --list shows those known",
    )


def _list(by_thread: dict[str, list[Scenario]]) -> None:
    table = table_of("thread", "scenarios")
    for thread, scenarios in by_thread.items():
        names = [each.name.removeprefix("test_") for each in scenarios if not each.is_control]
        table.add_row(thread, ", ".join(names))
    show(table)


class OfThread:
    """A pytest plugin that keeps the items that name a thread."""

    def __init__(self, thread: str) -> None:
        self._thread = thread

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Deselect the others."""
        others = [
            item
            for item in items
            if not any(self._thread in mark.args for mark in item.iter_markers("upstream"))
        ]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


def _run(thread: str, folder: Path, options: list[str], bundle: Path) -> int:
    import pytest

    from harness.pytest_plugin.foreign_plugins import CALLED_WITH

    arguments = [*CALLED_WITH, "-p", "no:cacheprovider", str(folder), *options]
    reports = bundle / "reports"
    code = pytest.main([*arguments, f"--reports={reports}"], plugins=[OfThread(thread)])
    return exit_code_of(int(code))


def _summarize(bundle: Path, thread: str, again: list[str]) -> Run | None:
    """Write the summary and return the run; without a trial leave nothing, and return None."""
    from harness.report.reproduction import digest_of_run, is_repeatable, reproduction
    from harness.results import latest_run, read_run

    try:
        run = read_run(latest_run(bundle / "reports"))
    except UsageError:
        shutil.rmtree(bundle, ignore_errors=True)
        return None
    labs = sorted({trial.record.inputs.lab for trial in run.trials})
    again = [*again, *(f"--lab={lab}" for lab in labs[:1])]
    if is_repeatable(run):
        again.append(f"--digest={digest_of_run(run)}")
    path = bundle / SUMMARY
    try:
        write_atomically(path, reproduction(run, thread, shlex.join(again)))
    except OSError as error:
        raise TrialError(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"bundle: {bundle} (paste {path} into the thread)")
    return run


def _held_against(run: Run, digest: str) -> int:
    from harness.report.reproduction import digest_of_run

    own = digest_of_run(run)
    if own == digest:
        click.echo("byte-identical to the trials with that digest")
        return EXIT_OK
    click.echo(f"the trials differ: their digest is {own}, not {digest}", err=True)
    return EXIT_EXPECTATION
