"""The doctor on this machine: it answers soon, and leaves the machine as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from host import mounts

pytestmark = pytest.mark.integration


def of_the_host() -> Any:
    return mounts(), sorted(Path("/sys/class/net").iterdir())


def test_the_doctor_tells_of_this_machine_and_changes_nothing() -> None:
    before = of_the_host()
    ran = subprocess.run(
        [sys.executable, "-m", "harness.cli.main", "doctor", "--json"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert of_the_host() == before
    assert "Traceback" not in ran.stderr
    told = json.loads(ran.stdout)
    assert ran.returncode == (0 if told["auto"] else 2)
    states = {check["name"]: check["state"] for check in told["checks"]}
    assert set(states.values()) <= {"ok", "degraded", "missing", "unknown"}
    assert states["cores"] in {"ok", "degraded"}
