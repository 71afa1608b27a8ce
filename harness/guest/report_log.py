"""In the guest: what its pytest reports, logged to a file and to the console for the host's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.guest.contract import PROGRESS
from harness.vm.guest_init import say


class ReportLog:
    """Writes pytest's reports and warnings to a file for the host's pytest."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._config = config
        self._path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Log a report."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._write({"report": data})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Log why nothing could be collected."""
        if report.failed:
            self._write({"uncollected": report.longreprtext})

    def pytest_warning_recorded(
        self, warning_message: Any, when: str, nodeid: str, location: Any
    ) -> None:
        """Log a warning."""
        warning = {
            "text": str(warning_message.message),
            "category": warning_message.category.__name__,
            "filename": warning_message.filename,
            "lineno": warning_message.lineno,
        }
        self._write({"warning": warning, "when": when, "nodeid": nodeid, "location": location})

    def _write(self, entry: dict[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(entry, enc_hook=str) + b"\n")


def console_line(text: str) -> None:
    """Print a line of progress on the console, which the host's pytest reads."""
    say(f"{PROGRESS}{text}")
