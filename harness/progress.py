"""What the terminal shows of scenarios: lines while they run, a table at the end."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.report import render_summary, write_report
from harness.results import read_run
from harness.trial import Trial

#: Journal entries that people want to see as they happen, and how they read.
_SHOWN = {
    "lab.ready": "nodes are up: {nodes}",
    "swarm.formed": "swarm formed, {leader} leads",
    "workload.deployed": "{workload} serves",
    "load.start": "load: {users} users",
    "load.stop": "load stopped: {requests} requests",
    "fault.inject": "inject {fault} on {target}",
    "fault.healed": "healed: {proof}",
    "leader": "{leader} leads now",
    "doubt": "doubt: {reason}",
    "measure": "measured {name}: {value} {unit}",
}


class Progress:
    """Lines of progress, indented below the scenario that pytest is at."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def say(self, text: str) -> None:
        """Show one line now, whatever pytest captures."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if reporter is None:
            return
        if capture is None:
            reporter.write_line(f"    {text}")
            return
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(f"    {text}")

    def watch(self, trial: Trial) -> None:
        """Show a trial's journal as it is written."""
        self.say(f"trial {trial.folder.name}")
        trial.journal.listen(self._entry)

    def page(self, run: Path) -> None:
        """Write the run's page; trouble with it is said and does not change any verdict."""
        try:
            write_report(run)
        except (HarnessError, OSError) as error:
            self.say(f"the page could not be written: {error}")

    def summary(self, run: Path, reporter: pytest.TerminalReporter) -> None:
        """The table of what was measured, and where the page is."""
        from rich.console import Console

        width = reporter._tw.fullwidth
        text = io.StringIO()
        console = Console(
            file=text,
            width=max(width, 80),
            force_terminal=reporter._tw.hasmarkup,
            legacy_windows=False,
        )
        console.print(render_summary(read_run(run)))
        reporter.section("swarm chaos")
        reporter.write(text.getvalue())

    def _entry(self, entry: dict[str, Any]) -> None:
        template = _SHOWN.get(entry["kind"])
        if template is None:
            return
        facts = {**entry, "target": entry.get("target", "")}
        if isinstance(facts.get("nodes"), dict):
            facts["nodes"] = ", ".join(facts["nodes"])
        self.say(f"{entry['t']:8.2f} s  {template.format(**facts)}")
