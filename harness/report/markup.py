"""Text within Markdown."""

from __future__ import annotations

import re

from harness.report.sanitize import one_line


def cell(text: str) -> str:
    """Text that cannot break out of a table's cell, nor be read as markup."""
    return re.sub(r"([\\`*_\[\]<>|#@!~&])", r"\\\1", one_line(text))
