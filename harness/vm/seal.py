"""Seals on frozen machines: what a snapshot must look like, said in its manifest and checked.

A snapshot is sealed before it gets its name: its manifest lists size and digest of every file,
and all of it is on the disk. Whatever cuts the power later leaves a whole snapshot or none.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import MicrovmError
from harness.files import is_draft, replacing
from harness.vm import content_hash

MANIFEST = "manifest.json"

_BLOCK = 1 << 16
_HOLES = bytes(_BLOCK)
_HINT = "`swarm-chaos clean` removes it; what needs it next freezes it again"

#: Small, and read by QEMU or the guest's boot before anything else can notice that it is broken.
_READ_AT_ONCE = ("state",)


class Part(msgspec.Struct, frozen=True):
    """A file of a snapshot: its size in bytes and its :func:`digest`."""

    size: int
    sha256: str


class Frozen(msgspec.Struct, frozen=True):
    """The facts of a frozen machine, as far as a thaw reads them; all of them give its key."""

    qemu: str
    machine: dict[str, Any]


class Manifest(msgspec.Struct, frozen=True):
    """A snapshot's manifest. ``parts`` and ``seal`` are missing in one that was never sealed."""

    facts: Frozen
    frozen_at: float
    """Seconds since 1970."""
    wall_seconds: float = 0.0
    """What the freeze took."""
    note: dict[str, str] = {}
    parts: dict[str, Part] = {}
    seal: str = ""
    """Digest of all the rest."""


def read(folder: Path) -> Manifest:
    """Return the manifest of the snapshot in ``folder``.

    Raises :class:`~harness.errors.MicrovmError` whatever is there instead of one.
    """
    try:
        raw = (folder / MANIFEST).read_bytes()
        manifest = msgspec.json.decode(raw, type=Manifest)
        broken = manifest.seal != "" and manifest.seal != _seal_of(json.loads(raw))
    except (OSError, ValueError, RecursionError) as error:
        said = getattr(error, "strerror", None) or error
        raise MicrovmError(
            f"the snapshot {folder.name} has no readable manifest: {said}", hint=_HINT
        ) from error
    if broken:
        raise MicrovmError(
            f"the manifest of the snapshot {folder.name} is not what its freeze wrote", hint=_HINT
        )
    return manifest


def seal(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the manifest of what lies in ``folder``, and put all of it on the disk.

    The manifest gets its name last. ``facts`` are those besides ``parts`` and ``seal``. Raises
    :class:`OSError`.
    """
    files = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.name != MANIFEST and not is_draft(path.name)
    )
    parts = {path.name: {"size": path.stat().st_size, "sha256": digest(path)} for path in files}
    manifest = {**facts, "parts": parts}
    manifest["seal"] = _seal_of(manifest)
    for path in files:
        sync(path)
    with replacing(folder / MANIFEST) as draft:
        draft.write_text(json.dumps(manifest, indent=1))
        sync(draft)
    sync(folder)


def sync(path: Path) -> None:
    """Put a file, or the names in a folder, on the disk. Raises :class:`OSError`."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def damage(folder: Path, *, contents: bool) -> str:
    """Return what is wrong with the snapshot in ``folder``, as a clause; empty if nothing is.

    Sizes and the state of the devices are always looked at (milliseconds); with ``contents``
    every byte is (a second or two). Of a snapshot without a seal only the manifest is.
    """
    try:
        manifest = read(folder)
        for name, part in manifest.parts.items():
            path = folder / name
            size = path.stat().st_size
            if size != part.size:
                return f"{name} has {size} bytes, {part.size} were frozen"
            if (contents or name in _READ_AT_ONCE) and digest(path) != part.sha256:
                return f"{name} has other contents than were frozen"
    except MicrovmError as error:
        return error.what
    except OSError as error:
        return f"{error.filename or folder} cannot be read: {error.strerror}"
    return ""


def digest(path: Path) -> str:
    """Return the sha256 of a sparse file's blocks that are not all zeros, each with its offset.

    The same content has the same digest wherever its holes are. Raises :class:`OSError`.
    """
    found = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        at, size = 0, os.fstat(file.fileno()).st_size
        while at < size:
            try:
                data = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # only a hole up to the end
                break
            at = max(at, data - data % _BLOCK)
            block = os.pread(file.fileno(), _BLOCK, at)
            if not block:  # cut off meanwhile
                break
            if block != _HOLES[: len(block)]:
                found.update(at.to_bytes(8, "big"))
                found.update(block)
            at += _BLOCK
    return found.hexdigest()


def _seal_of(manifest: Mapping[str, Any]) -> str:
    return content_hash.of_facts({name: manifest[name] for name in manifest if name != "seal"})
