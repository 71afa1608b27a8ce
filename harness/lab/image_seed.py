"""Starting nodes with images in place: copies of a ``/var/lib/docker`` made once.

A seed is what one dockerd left after loading the images, in two trees: ``layers`` (the files of
image layers, which no engine ever changes in place) and ``state`` (all else). Installing it links
the first and copies the second, so twenty nodes take one copy of the layers.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from harness.errors import LabError

#: What belongs to one node and must not be copied to others.
_OWN = ("engine-id", "swarm", "network", "containers", "tmp", "runtimes", "buildkit", "plugins")


def capture_seed(data: Path, seed: Path) -> None:
    """Capture a seed from a stopped dockerd's ``/var/lib/docker`` (moves files out of ``data``)."""
    for name in _OWN:
        shutil.rmtree(data / name, ignore_errors=True)
        (data / name).unlink(missing_ok=True)
    state, layers = seed / "state", seed / "layers"
    state.mkdir(parents=True)
    layers.mkdir()
    for diff in (data / "overlay2").glob("*/diff"):
        target = layers / diff.relative_to(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        diff.rename(target)
    _copy(["cp", "-a"], data, state)


def install_seed(seed: Path, data: Path) -> None:
    """Fill a node's ``/var/lib/docker`` from a seed."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    _copy(["cp", "-a", "--reflink=auto"], seed / "state", data)
    try:
        _copy(["cp", "-al"], seed / "layers", data)
    except LabError:  # another file system: links cannot cross
        _copy(["cp", "-a", "--reflink=auto"], seed / "layers", data)


def _copy(command: list[str], source: Path, target: Path) -> None:
    done = subprocess.run(
        [*command, f"{source}/.", f"{target}/"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LabError(f"cannot copy {source} to {target}: {done.stderr.strip()}")
