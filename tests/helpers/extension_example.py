"""The package of ``examples/extension``, installed as an operator does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "extension"


def install_example(folder: Path) -> Path:
    """Copy its sources to ``folder/extension``, have pip install them in ``folder/site``."""
    pytest.importorskip("hatchling", reason="the package is built with it")
    source = folder / "extension"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("reports", "__pycache__"))
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"),
            *("--no-index", "--no-deps", "--no-build-isolation"),
            *("-t", folder / "site", source),
        ],
        check=True,
    )
    return folder
