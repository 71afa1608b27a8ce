"""The machine as the checks see it: a few facts, and ways to find out more."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.images import Cache
from harness.lab import KernelFeatures, labs_folder, probe_features

# Programs of the system's administration are not on every ordinary user's path.
_ADMIN_PATHS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


@dataclass(frozen=True)
class Answer:
    """A program's exit code (None: it timed out) and its output."""

    code: int | None
    said: str

    @property
    def last_line(self) -> str:
        """The last line that is not empty, where programs put their complaint."""
        return next((ln.strip() for ln in reversed(self.said.splitlines()) if ln.strip()), "")


@dataclass(frozen=True)
class Machine:
    """Facts that every check may use; :func:`this_machine` collects them."""

    root: bool
    user: str
    cache: Path
    reports: Path
    labs: Path
    kernel: KernelFeatures = field(default_factory=KernelFeatures)
    pressure: Path = Path("/proc/pressure/cpu")
    neighbours: Path = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")

    def find(self, program: str) -> str | None:
        """Return the path of ``program``, None without it; also looks in /sbin and the like."""
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_ADMIN_PATHS])
        return shutil.which(program, path=path)

    def ask(self, argv: Sequence[str], *, within: float) -> Answer:
        """Run a program with no input for at most ``within`` seconds."""
        try:
            ran = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C"},
                text=True,
                errors="replace",
                timeout=within,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Answer(None, f"no answer within {within:g} s")
        except OSError as error:
            return Answer(127, f"{argv[0]}: {error.strerror}")
        return Answer(ran.returncode, ran.stdout)


def this_machine() -> Machine:
    """The machine this runs on; features are tried where nodes' overlays would lie."""
    labs = labs_folder()
    scratch = nearest_folder(labs)
    return Machine(
        root=os.geteuid() == 0,
        user=_user_name(),
        cache=Cache().root,
        reports=Path("reports").resolve(),
        labs=labs,
        kernel=probe_features(scratch if os.access(scratch, os.W_OK) else None),
    )


def nearest_folder(path: Path) -> Path:
    """``path`` or the first of its parents that exists: it lies on the same file system."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
