"""What a thawed guest can be asked to do. Comes with the payload: it is not frozen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness.errors import MicrovmError


def do(inputs: dict[str, Any], out: Path) -> int:
    """Do what ``inputs["do"]`` names, with its environment; the exit code."""
    os.environ.update(inputs.get("environment", {}))
    match inputs.get("do", "pytest"):
        case "pytest":
            return run_pytest(inputs["args"], out / inputs["trial"])
        case unknown:
            raise MicrovmError(f"a guest cannot be asked to {unknown!r}")


def run_pytest(args: list[str], trial: Path) -> int:
    """Run one pytest item; the trial's folder is to be ``trial``."""
    import pytest

    return int(pytest.main([*args, f"--trial-into={trial}"]))
