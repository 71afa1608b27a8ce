"""``swarm-chaos report``: build a run's page again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--reports",
    default="reports",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that holds the runs.",
)
def report(run: Path | None, reports: Path) -> None:
    """Build the HTML report of RUN (a run's folder or its id; default: the latest run)."""
    from rich.console import Console

    from harness.report.page import write_report
    from harness.report.summary import render_summary
    from harness.results import latest_run, read_run

    if run is None:
        folder = latest_run(reports)
    else:
        folder = run if run.exists() or not (reports / run).is_dir() else reports / run
    write_report(folder)
    Console().print(render_summary(read_run(folder)), crop=False)
