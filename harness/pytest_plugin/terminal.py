"""What the terminal shows of scenarios: lines while they run, a table at the end."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.results import read_run
from harness.trial import Trial

#: Journal entries that people want to see as they happen, and how they read.
_SHOWN = {
    "lab.ready": "nodes are up: {nodes}",
    "swarm.formed": "the swarm stands, {leader} leads",
    "workload.deployed": "{workload} serves",
    "load.start": "load: {users} users",
    "load.stop": "load stopped: {requests} requests",
    "fault.inject": "inject {fault} on {target}",
    "fault.healed": "healed: {proof}",
    "leader": "{leader} leads now",
    "note": "note: {text}",
    "doubt": "doubt: {reason}",
    "measure": "measured {name}: {measured}",
}


def terminal_line(config: pytest.Config) -> Callable[[str], None]:
    """A function that shows one line on pytest's terminal now, whatever is captured."""

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
            reporter.write_line(f"    {text}")

    return say


class Progress:
    """Lines of progress, through ``say``, and the end of a run."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def watch(self, trial: Trial) -> None:
        """Show a trial's journal as it is written."""
        trial.journal.listen(self._entry)

    def page(self, run: Path) -> None:
        """Write the run's page; trouble with it is said and does not change any verdict."""
        from harness.report import write_report

        try:
            write_report(run)
        except (HarnessError, OSError) as error:
            self.say(f"the page could not be written: {error}")

    def summary(self, run: Path, reporter: pytest.TerminalReporter) -> None:
        """The table of what was measured, and where the page is."""
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
            self.say(f"the job's summary could not be written: {error}")
            return
        for line in annotations:
            reporter.write_line(line)

    def _entry(self, entry: dict[str, Any]) -> None:
        template = _SHOWN.get(entry["kind"])
        if template is None:
            return
        facts = {**entry, "target": entry.get("target", ""), "measured": _measured(entry)}
        if isinstance(facts.get("nodes"), dict):
            facts["nodes"] = ", ".join(facts["nodes"])
        self.say(f"{entry['t']:8.2f} s  {template.format(**facts)}")


def _measured(entry: dict[str, Any]) -> str:
    """A measure's value as people read it: four digits, and no unit where it is a share."""
    value, unit = entry.get("value"), entry.get("unit", "")
    if value is None:
        return "nothing"
    longer = "more than " if entry.get("censored") else ""
    return f"{longer}{value:.4g}{'' if unit == '1' else f' {unit}'}"
