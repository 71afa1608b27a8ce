"""An ordinary user without root, Docker or anything frozen: the default suite, and root's trials.

What root recorded is packed and taken in by a user whose cache holds only what was fetched or
built of Debian's packages, for building takes a range in /etc/subuid. All else that a trial hangs
on is the user's own: libraries for QEMU, the guest's Python and root file system, the frozen swarm
and its warm-up. The packed run brings the trial's inputs and its code.
"""

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
from harness.trial import as_expected

pytestmark = pytest.mark.integration

#: An id that belongs to nobody here; the user needs no entry in /etc/passwd.
UID = 61234
#: What the user's cache begins with, by kind; its content is named by its key.
GIVEN = ("compiler", "engine-tar", "guest-base", "kernel", "qemu", "registry", "workload")
ANEW = {
    *("guest-image", "guest-python", "lockstep", "overlay", "snapshot", "checkpoint"),
    *("digests", "result"),  # what was read and run, so that it need not be twice
}

ROOT = Path(__file__).resolve().parents[2]
SLASH_30 = (
    "-m",
    "pytest",
    "scenarios",
    "-k",
    "slash_30",
    "--lab=microvm",
    "-p",
    "no:cacheprovider",
)
COMMAND = ("-m", "harness.cli.main")
#: What the harness does of it: it starts itself, and pip.
USABLE = """
import subprocess, sys, docker, pytest
subprocess.run([sys.executable, "-m", "pip", "--version"], check=True)
"""


@dataclass(frozen=True)
class User:
    """A user with a home of its own, none of root's privileges, and a Python."""

    home: Path
    python: str

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the repository."""
        environment = {
            "HOME": str(self.home),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "SWARM_CHAOS_CACHE": str(self.home / "cache"),
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p.endswith("-packages")),
            # where this machine's packages come from
            **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
        }
        drop = [f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--bounding-set=-all"]
        return subprocess.run(
            ["setpriv", *drop, "--inh-caps=-all", self.python, *args],
            env=environment,
            cwd=ROOT,
            text=True,
            capture_output=True,
            check=False,
        )


@pytest.fixture
def user() -> Iterator[User]:
    """A user who owns a home; this Python if it may be read by others, else the system's."""
    folder = Path("/var/tmp") / f"swarm-chaos-user-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        os.chown(folder, UID, UID)
        for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
            user = User(folder, python)
            if Path(python).exists() and user.run("-c", USABLE).returncode == 0:
                break
        else:
            pytest.skip("no interpreter with the harness's packages is for other users to read")
        yield user
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def recorded(tmp_path: Path, user: User) -> StoredTrial:
    """A trial that root recorded, and packed into the user's home."""
    reports = tmp_path / "reports"
    ran = subprocess.run(
        [sys.executable, *SLASH_30, f"--reports={reports}"],
        text=True,
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    run = (reports / "latest").resolve()
    packed = user.home / "run.tar.gz"
    export = (*COMMAND, "results", "export", run, "--to", packed)
    subprocess.run([sys.executable, *export], check=True, cwd=ROOT)
    packed.chmod(0o644)
    (trial,) = read_run(run).trials
    return trial


def test_what_root_recorded_is_the_same_trial_for_a_user_who_freezes_it_anew(
    user: User, recorded: StoredTrial
) -> None:
    cache, own = Cache().root, user.home / "cache"
    own.mkdir()
    copy = ["cp", "-a", "--sparse=always", "--reflink=auto"]
    subprocess.run([*copy, *(cache / kind for kind in GIVEN), own], check=True)
    subprocess.run(["chown", "-R", f"{UID}:{UID}", own], check=True)
    reports = user.home / "reports"

    packed = str(user.home / "run.tar.gz")
    taken = user.run(*COMMAND, "results", "import", packed, f"--reports={reports}")
    assert taken.returncode == 0, taken.stdout + taken.stderr
    trial = Path(taken.stdout.strip()) / "trials" / recorded.id
    replayed = user.run(*COMMAND, "replay", str(trial))

    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert replayed.stdout.startswith("identical"), replayed.stdout
    key = json.loads((recorded.folder / "job.json").read_text())["snapshot"]
    assert f"the snapshot {key} is not in the cache: freezing it again" in replayed.stderr
    assert [folder.name for folder in (own / "snapshot").glob("[!.]*")] == [key]

    ran = user.run(*SLASH_30, f"--reports={reports}")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    (own_trial,) = read_run((reports / "latest").resolve()).trials
    assert as_expected(own_trial.record)
    assert own_trial.record.inputs.lab == "microvm"
    assert own_trial.record.digest == recorded.record.digest
    assert "freezing" not in ran.stdout, "what was frozen for the replay serves the run too"
    # Where users may open /dev/kvm, what came of trying it is kept as well.
    assert {kind.name for kind in own.iterdir()} - {*GIVEN, "kvm-probe"} == ANEW
