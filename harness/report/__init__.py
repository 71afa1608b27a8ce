"""A run as people read it: one self-contained page, and a summary for the terminal.

Stands on :mod:`harness.results` and :mod:`harness.trial` alone; needs neither Linux nor root nor
Docker.
"""

from harness.report.page import REPORT_FILE, write_report
from harness.report.summary import render_summary

__all__ = ["REPORT_FILE", "render_summary", "write_report"]
