"""A plain Debian root that takes no mirror to build: a package list in a tar."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.images import DebianBuild, DebianRecipe


def fake_root_tar(
    recipe: DebianRecipe, target: Path, *, say: Callable[..., Any] | None = None
) -> DebianBuild:
    status = b"Package: libc6\nStatus: install ok installed\nVersion: 2.41\n"
    with tarfile.open(target, "w") as tar:
        member = tarfile.TarInfo("./var/lib/dpkg/status")
        member.size = len(status)
        tar.addfile(member, io.BytesIO(status))
    return DebianBuild(recipe, "none", False)
