"""Which engines are known, and what a name means. Nothing here touches disk or network."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, get_args

from harness.engine.versions import release_in, release_key, same_release
from harness.errors import UsageError

Component = Literal["containerd", "runc"]
COMPONENTS: tuple[Component, ...] = get_args(Component)


@dataclass(frozen=True)
class EngineSpec:
    """What was asked for: a Debian suite's engine, one of Docker's archives, or a folder."""

    name: str
    """As the caller said it."""
    suite: str | None = None
    """Debian suite whose docker.io is meant."""
    expected: str | None = None
    """The release that must be found, when it was asked for by version."""
    folder: Path | None = None
    """Folder laid out as Docker's static archives are."""
    image: str | None = None
    """An image that holds an engine, for the dind lab: a tag or a digest."""
    archive: str | None = None
    """Release of one of Docker's static archives, or what its number begins with: ``26.1``,
    ``27.*`` mean the newest of those."""
    parts: tuple[tuple[Component, EngineSpec], ...] = ()
    """Components that come from other engines than the rest."""


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
_ARCHIVE_PREFIX = "archive:"
_IMAGE_PREFIX = "image:"
_PART = re.compile(r"\+(\w+)=")
_NUMBERS = re.compile(r"\d+(\.\d+)?(\.\*)?")
_FIRST_ARCHIVE = "17.03.0"


def resolve(name: str) -> EngineSpec:
    """Return what ``name`` means: a version, ``stable``, ``oldest``, ``newest`` or ``dir:PATH``.

    An alias takes what its suite serves, a version insists. A release that Debian does not
    serve comes from Docker's static archives, and with ``archive:`` before it any does;
    ``26.1`` and ``27.*`` mean the newest archive of those.
    ``image:REF`` is an image that holds an engine, for the dind lab. With ``+containerd=NAME`` or
    ``+runc=NAME`` behind it an engine has that component of another. :class:`UsageError` for a name
    that means nothing, with the known ones and what may have been meant.
    """
    asked = name.strip()
    rest, *parts = _PART.split(asked)
    if parts:
        return _mix(asked, resolve(rest), dict(zip(parts[::2], parts[1::2], strict=True)))
    if asked.startswith(_PREFIX):
        path = asked.removeprefix(_PREFIX)
        if not path:
            raise UsageError("engine 'dir:' names no folder", hint="write dir:/folder/with/dockerd")
        return EngineSpec(name=asked, folder=Path(path).expanduser().absolute())
    if asked.startswith(_IMAGE_PREFIX):
        if not (image := asked.removeprefix(_IMAGE_PREFIX)):
            raise UsageError(
                "engine 'image:' names no image", hint="write image:docker:27.3.1-dind"
            )
        return EngineSpec(name=asked, image=image)
    number = None if asked.startswith(_ARCHIVE_PREFIX) else release_in(asked)
    for known in KNOWN:
        if asked in known.aliases:
            return EngineSpec(name=asked, suite=known.suite)
        if number is not None and same_release(number, known.version):
            return EngineSpec(name=asked, suite=known.suite, expected=known.version)
    if (spec := _archive_spec(asked)) is not None:
        return spec
    names = [word for known in KNOWN for word in (known.version, *known.aliases)]
    near = get_close_matches(asked, names, n=2, cutoff=0.5)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(
        f"unknown engine {asked!r}",
        hint=f"{meant}known are {', '.join(names)}; any other release, as 27.3.1 or 27.*, comes "
        "from Docker's archives, and dir:PATH takes a folder of Docker's binaries",
    )


def _archive_spec(asked: str) -> EngineSpec | None:
    """What a number means that Debian does not serve, or one that insists on the archive."""
    number = asked.removeprefix(_ARCHIVE_PREFIX).strip().removeprefix("v")
    if _NUMBERS.fullmatch(number):
        return EngineSpec(name=asked, archive=number)
    release = release_in(number)
    if release is None or not number.startswith(release.partition("-")[0]):
        return None
    if release_key(release) < release_key(_FIRST_ARCHIVE):
        raise UsageError(
            f"engine {asked!r} is older than {_FIRST_ARCHIVE}, the first of Docker's archives",
            hint="dir:PATH takes a folder of binaries",
        )
    return EngineSpec(name=asked, expected=release, archive=release)


def _mix(asked: str, rest: EngineSpec, named: dict[str, str]) -> EngineSpec:
    """What an engine means whose components, by their names, come from other engines."""
    if strangers := sorted(named.keys() - set(COMPONENTS)):
        raise UsageError(
            f"engine {asked!r}: there is no component {', '.join(strangers)}",
            hint=f"components are {' and '.join(COMPONENTS)}: 28.5.2+containerd=26.1.5",
        )
    parts = tuple((part, resolve(named[part])) for part in COMPONENTS if part in named)
    if any(spec.image is not None for spec in (rest, *(spec for _, spec in parts))):
        raise UsageError(
            f"engine {asked!r}: an image is taken as it is, without components of others",
            hint="name releases or folders",
        )
    return replace(rest, name=asked, parts=parts)
