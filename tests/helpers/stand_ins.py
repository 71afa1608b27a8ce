"""Hand a fake to code that asks for the real class, and say so where it happens."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from harness.engine import Engine

UNUSED: Any = None
"""For an argument that what is tested never looks at."""


def stand_in(fake: object) -> Any:
    """Return ``fake`` as what it stands in for: types of it are no longer checked."""
    return fake


class FakeNode(SimpleNamespace):
    """As much of a node of this kernel as a test gives it."""

    @property
    def here(self) -> Self:
        """Itself."""
        return self


def fake_engine(rootfs: Path, version: str = "26.1.5") -> Engine:
    """Return an engine that is nowhere but in its facts."""
    return Engine(
        name=version, version=version, source="", digest="", dockerd="", path="", cgroups="v2",
        containerd="", cli="", rootfs=rootfs,
    )  # fmt: skip
