"""Runs as people read them: a site of static pages, and a summary for the terminal.

Stands on :mod:`harness.results` and :mod:`harness.trial` alone; needs neither Linux nor root nor
Docker.
"""

from __future__ import annotations

from pathlib import Path

from harness.report.page_names import INDEX as REPORT_FILE
from harness.report.site import Site, write_site
from harness.report.summary import render_summary

__all__ = ["REPORT_FILE", "Site", "render_summary", "write_report", "write_site"]


def write_report(run_folder: Path) -> Path:
    """Write a run's pages into its own folder and return the path of its ``index.html``.

    Raises as :func:`write_site` does.
    """
    return write_site([run_folder], run_folder)
