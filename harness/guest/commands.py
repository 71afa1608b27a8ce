"""What a thawed guest can be asked to do. Comes with the payload: it is not frozen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness.errors import MicrovmError


def do(inputs: dict[str, Any], out: Path) -> int:
    """Do what ``inputs["do"]`` names, in its environment; return the exit code."""
    os.environ.update(inputs.get("environment", {}))
    match inputs.get("do", "pytest"):
        case "pytest":
            return run_pytest(inputs["args"], out / inputs["trial"])
        case "shell":
            return run_shell(inputs.get("request"), inputs["notes"])
        case unknown:
            raise MicrovmError(f"a guest cannot be asked to {unknown!r}")


def run_pytest(args: list[str], trial: Path) -> int:
    """Run one pytest item; the trial's folder is to be ``trial``."""
    import pytest

    return int(pytest.main([*args, f"--trial-into={trial}"]))


def run_shell(request: dict[str, Any] | None, notes: list[str]) -> int:
    """Serve a person among the nodes, or run the script in ``request``."""
    from harness.guest.shell import converse

    return converse(request, notes)
