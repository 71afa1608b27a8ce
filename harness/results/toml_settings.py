"""TOML files that people write for their results: read, or what is wrong with them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from harness.errors import UsageError


def read_toml(path: Path, what: str) -> tuple[str, dict[str, Any]]:
    """Return a file's text and its tables; ``what`` it is, for an error: ``the thresholds file``.

    Raises :class:`UsageError`, with line and column, for what is no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text") from error
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
