"""``swarm-chaos report``: build the HTML pages of runs."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.output import reports_option, show


@click.command("report")
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--into",
    default=None,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the pages (default: the run's own folder).",
)
@reports_option
def report(runs: tuple[Path, ...], into: Path | None, reports: Path) -> None:
    """Build the HTML report of RUNS (folders or ids; default: the latest run).

    For several runs this is one site, with their comparison and history.
    """
    from harness.errors import UsageError
    from harness.report.site import write_site
    from harness.report.summary import render_summary
    from harness.results import read_run
    from harness.results.find_run import find_run

    folders = [find_run(run, reports) for run in runs or (None,)]
    if into is None and len(folders) > 1:
        raise UsageError(
            f"a report about {len(folders)} runs needs a folder",
            hint="name one with --into",
        )
    index = write_site(folders, into or folders[0])
    if len(folders) == 1:
        show(render_summary(read_run(folders[0])))
    if into is not None:
        click.echo(f"report: {index}")
