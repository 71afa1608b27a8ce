"""What the terminal shows besides pytest's own output: lines of progress, a table at the end."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.images import Say
from harness.pytest_plugin.markers import MISSING
from harness.results import read_run


def terminal_line(config: pytest.Config) -> Callable[[str], None]:
    """Return a function that shows one line on pytest's terminal now, whatever is captured."""

    def say(text: str) -> None:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        capture = config.pluginmanager.get_plugin("capturemanager")
        if reporter is None:
            return
        if capture is None:
            reporter.write_line(f"    {text}")
            return
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            # With workers pytest's letters leave no mark that `ensure_newline` goes by. One write:
            # this may be a thread beside pytest's own.
            letters = config.get_terminal_writer().width_of_current_line
            reporter.write(f"{chr(10) if letters else ''}    {text}\n")

    return say


def skips_for_needs(reporter: pytest.TerminalReporter) -> dict[str, str]:
    """Return what the kernel lacks, by the node ids of the scenarios skipped for it."""
    return {
        report.nodeid: str(value)
        for report in reporter.getreports("skipped")
        for name, value in getattr(report, "user_properties", ())
        if name == MISSING
    }


def show_missing(reporter: pytest.TerminalReporter) -> None:
    """Count and name the scenarios that were skipped because the kernel lacks something."""
    skips = skips_for_needs(reporter)
    if not skips:
        return
    scenarios = "1 scenario was" if len(skips) == 1 else f"{len(skips)} scenarios were"
    reporter.write_line(f"{scenarios} skipped for what this kernel lacks:", yellow=True)
    for nodeid, missing in skips.items():
        reporter.write_line(f"  {nodeid}: {missing}", yellow=True)


def write_page(run: Path, say: Say) -> None:
    """Write the run's page; trouble with it is reported and does not change any verdict."""
    from harness.report import write_report

    try:
        write_report(run)
    except (HarnessError, OSError) as error:
        say(f"the page could not be written: {error}")


def summarize(run: Path, reporter: pytest.TerminalReporter, say: Say) -> None:
    """Show the table of what was measured, and where the page is."""
    from rich.console import Console

    from harness.report import render_summary
    from harness.report.github import run_to_github

    stored = read_run(run)
    text = io.StringIO()
    width = max(reporter._tw.fullwidth, 80)
    console = Console(file=text, width=width, force_terminal=reporter._tw.hasmarkup)
    # Not cropped: a path that is cut names nothing, and all else fits.
    console.print(render_summary(stored), crop=False)
    reporter.section("swarm chaos")
    reporter.write(text.getvalue())
    try:
        annotations = run_to_github(stored, os.environ)
    except OSError as error:
        say(f"the job's summary could not be written: {error}")
        return
    for line in annotations:
        reporter.write_line(line)
