"""Show a comparison: in the terminal, as Markdown, as HTML, and for a webhook."""

from harness.report.comparing.markdown import comparison_markdown
from harness.report.comparing.page import render_comparison
from harness.report.comparing.table import comparison_table
from harness.report.comparing.webhook import webhook_payload

__all__ = [
    "comparison_markdown",
    "comparison_table",
    "render_comparison",
    "webhook_payload",
]
