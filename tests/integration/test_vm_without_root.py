"""The default suite as an ordinary user: no root, no Docker, and QEMU from the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.images import Cache
from harness.results import read_run
from harness.trial import as_expected
from harness.vm.snapshot import snapshots

pytestmark = pytest.mark.integration

#: An id that belongs to nobody here; the user needs no entry in /etc/passwd.
USER = 61234
#: Of root's cache: what only root's lab uses, and the snapshots of others.
NOT_NEEDED = ("engine-tree", "base-tree", "graph-seed", "snapshot")

ROOT = Path(__file__).resolve().parents[2]


def as_user(*argv: str, home: Path, **popen: Any) -> subprocess.CompletedProcess[str]:
    """Run a program as :data:`USER`, with a home of its own and none of root's privileges."""
    environment = {
        "HOME": str(home),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "SWARM_CHAOS_CACHE": str(home / "cache"),
    }
    drop = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--bounding-set=-all"]
    result: subprocess.CompletedProcess[str] = subprocess.run(
        ["setpriv", *drop, "--inh-caps=-all", *argv],
        env=environment,
        text=True,
        capture_output=True,
        check=False,
        **popen,
    )
    return result


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home that the user owns, reachable from outside."""
    folder = Path("/var/tmp") / f"swarm-chaos-user-{os.getpid()}"
    folder.mkdir(mode=0o755)
    os.chown(folder, USER, USER)
    yield folder
    shutil.rmtree(folder)


def test_a_scenario_runs_without_root(home: Path) -> None:
    if as_user(sys.executable, "-c", "import pytest, docker", home=home).returncode != 0:
        pytest.skip("this interpreter is not to be read by other users")
    # Building takes a range in /etc/subuid; what was built is only copied here.
    frozen = subprocess.run(
        [sys.executable, "-m", "harness.cli.main", "shell", "--seed", "1"],
        input="true\n",
        text=True,
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    assert frozen.returncode == 0, frozen.stderr
    cache = Cache()
    (newest, *_) = snapshots(cache)
    wanted = [f for f in cache.root.iterdir() if f.name not in NOT_NEEDED]
    (home / "cache" / "snapshot").mkdir(parents=True)
    copy = ["cp", "-a", "--sparse=always", "--reflink=auto"]
    subprocess.run([*copy, *map(str, wanted), str(home / "cache")], check=True)
    subprocess.run([*copy, str(newest.folder), str(home / "cache" / "snapshot")], check=True)
    subprocess.run(["chown", "-R", f"{USER}:{USER}", str(home / "cache")], check=True)

    ran = as_user(
        *(sys.executable, "-m", "pytest", "scenarios", "-k", "slash_30", "--lab=microvm"),
        *("-p", "no:cacheprovider", f"--reports={home / 'reports'}"),
        home=home,
        cwd=ROOT,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    (trial,) = read_run((home / "reports" / "latest").resolve()).trials
    assert as_expected(trial.record)
    assert trial.record.inputs.lab == "microvm"
    assert "freezing" not in ran.stdout, "the snapshot that root froze serves the user too"
