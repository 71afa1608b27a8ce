"""Checkpoints: a running machine, frozen again in mid-run.

A checkpoint is a folder with what makes its snapshot's machine (its *base*) that of a later
moment: the pages that differ, the state of the devices, the inbox, and what was on the console. A
checkpoint of a guest that was itself thawed from one has the same base, so there is never a chain.
Its pages are mapped over the base's (``overlay.c``), and it is of no use without it: who removes a
snapshot removes its checkpoints.

The guest picks the moment (:func:`harness.vm.guest_init.checkpoint`), and stops there in every run;
so a run of which nothing is kept, one that was kept and what is thawed from it have one history.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock

from harness.errors import MicrovmError, MissingError
from harness.files import human_size
from harness.images import Cache
from harness.vm import content_hash, seal, sparse
from harness.vm.machine import Files, Machine
from harness.vm.qemu_binary import Qemu
from harness.vm.qemu_process import Emulator
from harness.vm.snapshot import Snapshot
from harness.vm.vmstate_patch import without_host_times

DELTAS = ("ram", "root")

_FORMAT = 1  # raise when the same inputs give another checkpoint
_TOOK = "took"  # seconds; not sealed
_KEEPING = ".keeping-"
_NEEDED_FREE = 1 << 30
_LONGEST = 3600.0  # seconds that nobody takes to keep a checkpoint


@dataclass(frozen=True)
class Checkpoint:
    """A machine as it was in mid-run, in ``folder``; :func:`~harness.vm.thaw.thaw` takes it."""

    folder: Path

    @property
    def key(self) -> str:
        """The checkpoint's name."""
        return self.folder.name

    @cached_property
    def _manifest(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / seal.MANIFEST).read_text())
        except (OSError, ValueError) as error:
            raise MicrovmError(
                f"the checkpoint {self.key} has no readable manifest: {error}",
                hint="remove it: it is made again when it is needed",
            ) from error
        return found

    @property
    def whole(self) -> bool:
        """Whether its files are what was kept, and its base is there; see :mod:`.seal`."""
        return not seal.damage(self.folder, contents=False) and self.base.exists

    @property
    def note(self) -> dict[str, str]:
        """What people are told of it."""
        return dict(self._manifest["note"])

    @property
    def wall_seconds(self) -> float:
        """For how long the guest stood still to be kept."""
        return float((self.folder / _TOOK).read_text())

    @property
    def cache(self) -> Cache:
        """The cache it lies in."""
        return Cache(self.folder.parent.parent)

    @cached_property
    def base(self) -> Snapshot:
        """The snapshot whose pages are under its own."""
        return Snapshot(self.cache.root / "snapshot" / str(self._manifest["facts"]["base"]))

    @property
    def digest(self) -> str:
        """The sha256 of the whole machine, less its base: memory, root file system, devices."""
        return str(self._manifest["digest"])

    @property
    def machine(self) -> Machine:
        """The base's machine."""
        return self.base.machine

    def qemu(self) -> Qemu:
        """Return the QEMU that the base was frozen by; errors as for a snapshot."""
        return self.base.qemu()

    def files(self, run_folder: Path) -> Files:
        """Return the files behind a machine thawed from it."""
        return self.base.files(run_folder)

    @property
    def state(self) -> Path:
        """The file with the state of the devices."""
        return self.folder / "state"

    @property
    def inbox(self) -> Path:
        """The inbox as the guest had it."""
        return self.folder / "inbox"

    @property
    def console(self) -> Path:
        """What was on the console."""
        return self.folder / "console.log"

    @property
    def disk_bytes(self) -> int:
        """Bytes on disk."""
        return sparse.disk_use(self.folder)

    @property
    def used_at(self) -> float:
        """When it was last thawed or kept, seconds since 1970."""
        return (self.folder / seal.MANIFEST).stat().st_mtime

    def touch(self) -> None:
        """Note that it was used now, and its base with it."""
        with contextlib.suppress(OSError):
            os.utime(self.folder / seal.MANIFEST)
        self.base.touch()


def store_of(cache: Cache) -> Path:
    """Return where a cache's checkpoints lie."""
    return cache.root / "checkpoint"


def checkpoints(cache: Cache) -> list[Checkpoint]:
    """Return all complete checkpoints in the cache whose base is there, the last used first."""
    found = [checkpoint for checkpoint in _all(cache) if checkpoint.whole]
    return sorted(found, key=lambda checkpoint: checkpoint.used_at, reverse=True)


def _all(cache: Cache) -> list[Checkpoint]:
    manifests = store_of(cache).glob(f"[!.]*/{seal.MANIFEST}")
    return [Checkpoint(manifest.parent) for manifest in manifests]


def key_of(facts: Mapping[str, Any]) -> str:
    """Return the key of what led to a checkpoint: ``base``, its snapshot's key, and all else."""
    return content_hash.of_facts({"format": _FORMAT, **facts})


def find(cache: Cache, facts: Mapping[str, Any]) -> Checkpoint | None:
    """Return the checkpoint that ``facts`` lead to, if it is kept."""
    found = Checkpoint(store_of(cache) / key_of(facts))
    return found if found.whole else None


@contextlib.contextmanager
def made_once(cache: Cache, facts: Mapping[str, Any]) -> Iterator[None]:
    """Hold the lock of the checkpoint that ``facts`` lead to: who waits for it finds it made."""
    store = store_of(cache)
    store.mkdir(parents=True, exist_ok=True)
    with FileLock(store / f".{key_of(facts)}.lock"):
        yield


def keep(
    emulator: Emulator,
    source: Snapshot | Checkpoint,
    run_folder: Path,
    facts: Mapping[str, Any],
    *,
    note: Mapping[str, str],
) -> Checkpoint:
    """Keep a machine that stands at a checkpoint, thawed from ``source`` into ``run_folder``.

    Whole or not at all. ``facts`` as for :func:`key_of`; ``note`` is for people.
    :class:`MissingError` without room on the disk.
    """
    store = store_of(source.cache)
    store.mkdir(parents=True, exist_ok=True)
    place = store / key_of(facts)
    room = shutil.disk_usage(store).free
    if room < _NEEDED_FREE:
        raise MissingError(
            f"a checkpoint needs {human_size(_NEEDED_FREE)} under {store}, "
            f"{human_size(room)} are free",
            hint="free disk space, or prune old snapshots",
        )
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"{_KEEPING}{place.name}-", dir=store) as work:
        draft = Path(work) / place.name
        draft.mkdir()
        digest = _write(emulator, source, draft / "state", draft)
        sparse.copy(run_folder / "inbox", draft / "inbox")
        shutil.copyfile(run_folder / "console.log", draft / "console.log")
        base = source.base if isinstance(source, Checkpoint) else source
        machine = {"qemu": base.manifest.facts.qemu, "machine": base.manifest.facts.machine}
        manifest = {
            "facts": {**facts, **machine},
            "note": dict(note),
            "digest": digest,
            "frozen_at": time.time(),
        }
        seal.seal(draft, manifest)
        (draft / _TOOK).write_text(f"{time.monotonic() - began:.3f}")
        shutil.rmtree(place, ignore_errors=True)
        draft.rename(place)
        seal.sync(store)
    return Checkpoint(place)


def digest_now(emulator: Emulator, source: Snapshot | Checkpoint, run_folder: Path) -> str:
    """Return the digest of a machine that stands at a checkpoint, and keep nothing."""
    state = run_folder / "state-now"
    try:
        return _write(emulator, source, state, None)
    finally:
        state.unlink(missing_ok=True)


def _write(
    emulator: Emulator, source: Snapshot | Checkpoint, state: Path, pages: Path | None
) -> str:
    """Write the devices, and the pages into a folder if they are to be kept; return the digest."""
    from harness.vm.memory_delta import MemoryDelta  # numpy takes a while, and few runs need it

    base, before = (
        (source.base, source.folder) if isinstance(source, Checkpoint) else (source, None)
    )
    digest = hashlib.sha256(base.key.encode())
    for name in DELTAS:
        delta = MemoryDelta(emulator.process.pid, name, base.folder, before)
        digest.update(delta.write(pages).encode())
    emulator.save_devices(state)
    digest.update(without_host_times(state.read_bytes()))
    return digest.hexdigest()


def useless(cache: Cache) -> list[Checkpoint]:
    """Return the checkpoints that are damaged, or whose snapshot is gone."""
    return [checkpoint for checkpoint in _all(cache) if not checkpoint.whole]


def half_kept(cache: Cache) -> list[Path]:
    """Return the folders of checkpoints that were not kept to the end, an hour old or more."""
    found = store_of(cache).glob(f"{_KEEPING}*")
    return [folder for folder in found if time.time() - folder.stat().st_mtime > _LONGEST]


def discard(checkpoint: Checkpoint) -> None:
    """Remove a checkpoint; guests that run from it go on."""
    (checkpoint.folder / seal.MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(checkpoint.folder, ignore_errors=True)


def prune_checkpoints(cache: Cache, *, most_bytes: int) -> list[str]:
    """Remove the checkpoints that are of no use, and the longest unused.

    Of the latter as many as it takes until the rest has no more than ``most_bytes``. What a killed
    process left behind goes too. Return the keys removed.
    """
    used = 0
    removed = useless(cache)
    for checkpoint in checkpoints(cache):
        used += checkpoint.disk_bytes
        if used > most_bytes:
            removed.append(checkpoint)
    for checkpoint in removed:
        discard(checkpoint)
    for folder in half_kept(cache):
        shutil.rmtree(folder, ignore_errors=True)
    return [checkpoint.key for checkpoint in removed]
