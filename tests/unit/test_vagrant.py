"""The syntax of what no CI can run: it has no boxes to run it on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "argv",
    [
        ["ruby", "-c", "vagrant/Vagrantfile"],
        ["ruby", "-c", "harness/lab/ssh/Vagrantfile"],
        ["bash", "-n", "vagrant/provision.sh"],
    ],
    ids=" ".join,
)
def test_the_syntax_is_right(argv: Sequence[str]) -> None:
    if shutil.which(argv[0]) is None:
        pytest.skip(f"no program {argv[0]} here")
    ran = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
