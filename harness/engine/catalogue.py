"""Which engines are known, and what a name means. Nothing here touches disk or network."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from harness.engine.versions import release_in, same_release
from harness.errors import UsageError


@dataclass(frozen=True)
class EngineSpec:
    """What was asked for: a Debian suite's engine, or a folder of binaries."""

    name: str
    """As the caller said it."""
    suite: str | None = None
    """Debian suite whose docker.io is meant."""
    expected: str | None = None
    """The release that must be found, when it was asked for by version."""
    folder: Path | None = None
    """Folder laid out as Docker's static archives are."""


@dataclass(frozen=True)
class KnownEngine:
    """A release that a Debian suite is known to serve."""

    version: str
    suite: str
    aliases: tuple[str, ...] = ()


KNOWN = (
    KnownEngine("20.10.5", "bullseye", ("oldest",)),
    KnownEngine("20.10.24", "bookworm"),
    KnownEngine("26.1.5", "trixie", ("stable",)),
    KnownEngine("28.5.2", "sid", ("newest",)),
)
"""Read in Debian's archive in November 2026. Suites move: what is really there is read back
from the binary, and an engine asked for by version is refused when it has become another."""

_PREFIX = "dir:"


def resolve(name: str) -> EngineSpec:
    """Return what ``name`` means: a version, ``stable``, ``oldest``, ``newest`` or ``dir:PATH``.

    An alias takes what its suite serves, a version insists. :class:`UsageError` for a name that
    means nothing, with the known ones and what may have been meant.
    """
    asked = name.strip()
    if asked.startswith(_PREFIX):
        path = asked.removeprefix(_PREFIX)
        if not path:
            raise UsageError("engine 'dir:' names no folder", hint="write dir:/folder/with/dockerd")
        return EngineSpec(name=asked, folder=Path(path).expanduser().absolute())
    for known in KNOWN:
        if asked in known.aliases:
            return EngineSpec(name=asked, suite=known.suite)
        if release_in(asked) is not None and same_release(asked, known.version):
            return EngineSpec(name=asked, suite=known.suite, expected=known.version)
    names = [word for known in KNOWN for word in (known.version, *known.aliases)]
    near = get_close_matches(asked, names, n=2, cutoff=0.5)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(
        f"unknown engine {asked!r}",
        hint=f"{meant}known are {', '.join(names)}; dir:PATH takes a folder of Docker's binaries",
    )
