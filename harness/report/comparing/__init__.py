"""A comparison for people and machines: terminal, Markdown, HTML, JSON, and what changed."""

from harness.report.comparing.markdown import markdown
from harness.report.comparing.page import render_comparison
from harness.report.comparing.table import table
from harness.report.comparing.webhook import what_changed

__all__ = ["markdown", "render_comparison", "table", "what_changed"]
