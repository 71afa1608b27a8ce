"""As an ordinary user, without Docker: a scenario, and the replay of a trial that root recorded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.images import Cache
from harness.results import StoredTrial, read_run
from harness.snapshots.job import JobRecord
from harness.trial import as_expected

pytestmark = pytest.mark.integration

#: An id that belongs to nobody here; the user needs no entry in /etc/passwd.
USER = 61234
#: Of root's cache: what only root's lab uses, what only freezing reads, and what trials leave.
NOT_NEEDED = (
    *("engine-tree", "base-tree", "graph-seed"),
    *("guest-image", "guest-python"),
    *("snapshot", "checkpoint", "result"),
)

ROOT = Path(__file__).resolve().parents[2]

#: Where else an interpreter for other users may be, if root's own is below root's home.
SYSTEM_PYTHON = "/usr/bin/python3"
VERSION = """
import subprocess, sys, pytest, docker
subprocess.run([sys.executable, "-c", "pass"], check=True)
print(*sys.version_info[:2])
"""


@dataclass(frozen=True)
class User:
    """An ordinary user, with a home of their own and none of root's privileges."""

    home: Path
    python: str = sys.executable

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run the interpreter with these arguments in the project's folder."""
        packages = [str(ROOT), *(path for path in sys.path if path.endswith("-packages"))]
        environment = {
            "HOME": str(self.home),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONPATH": ":".join(packages),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SWARM_CHAOS_CACHE": str(self.home / "cache"),
        }
        drop = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--bounding-set=-all"]
        return subprocess.run(
            ["setpriv", *drop, "--inh-caps=-all", self.python, *argv],
            env=environment,
            text=True,
            capture_output=True,
            check=False,
            cwd=ROOT,
        )

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of swarm-chaos."""
        return self.run("-m", "harness.cli.main", *words)


@pytest.fixture
def user() -> Iterator[User]:
    """A user whose home is reachable from outside."""
    folder = Path("/var/tmp") / f"swarm-chaos-user-{os.getpid()}"
    folder.mkdir(mode=0o755)
    os.chown(folder, USER, USER)
    for python in (sys.executable, SYSTEM_PYTHON):
        found = User(folder, python)
        asked = found.run("-c", VERSION)
        if asked.stdout.split() == [str(part) for part in sys.version_info[:2]]:
            yield found
            break
    else:
        pytest.skip("no interpreter of this version is to be read by other users")
    shutil.rmtree(folder)


def as_root(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli.main", *words],
        text=True,
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def only_trial(reports: Path) -> StoredTrial:
    (trial,) = read_run((reports / "latest").resolve()).trials
    assert as_expected(trial.record)
    assert trial.record.inputs.lab == "microvm"
    return trial


#: A full subnet: the shortest trial there is.
SCENARIO = ("run", "--lab", "microvm", "-k", "slash_30", "-p", "no:cacheprovider")


def test_a_trial_of_root_is_run_and_replayed_without_root(user: User, tmp_path: Path) -> None:
    as_root(*SCENARIO, "--reports", str(tmp_path))
    recorded = only_trial(tmp_path)
    packed = user.home / "run.tar.gz"
    as_root("results", "export", str(recorded.folder.parent.parent), "--to", str(packed))

    # Building takes a range in /etc/subuid; what was built is only copied here.
    cache = Cache()
    frozen = cache.root / "snapshot" / JobRecord.load(recorded.folder).snapshot
    wanted = [f for f in cache.root.iterdir() if f.name not in NOT_NEEDED]
    image = json.loads((frozen / "manifest.json").read_text())["facts"]["image"]
    theirs = user.home / "cache"
    for name in ("snapshot", "guest-image"):
        (theirs / name).mkdir(parents=True)
    copy = ["cp", "-a", "--sparse=always", "--reflink=auto"]
    subprocess.run([*copy, *map(str, wanted), str(theirs)], check=True)
    subprocess.run([*copy, str(frozen), str(theirs / "snapshot")], check=True)
    built = cache.root / "guest-image" / image
    subprocess.run([*copy, str(built), str(theirs / "guest-image")], check=True)
    subprocess.run(["chown", "-R", f"{USER}:{USER}", str(user.home)], check=True)

    own = user.home / "own"
    ran = user.command(*SCENARIO, "--reports", str(own))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "freezing" not in ran.stdout, "the key is the same: root's snapshot serves the user too"
    assert only_trial(own).record.digest == recorded.record.digest

    imported = user.home / "imported"
    took = user.command("results", "import", str(packed), "--reports", str(imported))
    assert took.returncode == 0, took.stdout + took.stderr
    (trial,) = imported.glob(f"*/trials/{recorded.id}")
    replayed = user.command("replay", str(trial))
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert replayed.stdout.startswith("identical")
    assert "freezing" not in replayed.stdout + replayed.stderr
