"""``swarm-chaos report``: build the pages about runs again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--into",
    default=None,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the pages; without it they go into the run's own folder.",
)
@click.option(
    "--reports",
    default="reports",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that holds the runs.",
)
def report(runs: tuple[Path, ...], into: Path | None, reports: Path) -> None:
    """Build the HTML report of RUNS (folders or ids; default: the latest run).

    Of several runs it becomes one site with their comparison and history.
    """
    from rich.console import Console

    from harness.errors import UsageError
    from harness.report.site import write_site
    from harness.report.summary import render_summary
    from harness.results import read_run
    from harness.results.find_run import chosen_run

    folders = [chosen_run(run, reports) for run in runs or (None,)]
    if into is None and len(folders) > 1:
        raise UsageError(
            f"{len(folders)} runs make one report, and it is not said where",
            hint="name its folder with --into",
        )
    index = write_site(folders, into or folders[0])
    if len(folders) == 1:
        Console().print(render_summary(read_run(folders[0])), crop=False)
    if into is not None:
        click.echo(f"report: {index}")
