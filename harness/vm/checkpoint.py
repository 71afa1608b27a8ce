"""Checkpoints: a running machine, frozen again in mid-run.

A checkpoint is a folder with what makes its snapshot's machine (its *base*) that of a later
moment: the pages that differ, the state of the devices, the inbox, and what was on the console. A
checkpoint of a guest that was itself thawed from one has the same base, so there is never a chain.
Its pages are mapped over the base's (``overlay.c``), and it is of no use without it: who removes a
snapshot removes its checkpoints.

The guest picks the moment (:func:`harness.vm.guest_init.checkpoint`), and stops there in every run;
so a run of which nothing is kept, one that was kept and what is thawed from it have one history.

While it is *in use* its pages lie there as QEMU maps them. They were not put on the disk, for which
a guest would have to stand still, and so they count until this kernel ends: after a power cut they
are not looked at. *At rest* (:meth:`Checkpoint.rest`) it has them compressed, sealed as a snapshot
is, and on the disk; who thaws it then unpacks them first.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from harness.errors import MicrovmError, MissingError
from harness.files import human_size, is_draft, is_locked
from harness.images import Cache
from harness.vm import content_hash, packing, seal, sparse
from harness.vm.machine import Files, Machine
from harness.vm.qemu_binary import Qemu
from harness.vm.qemu_process import Emulator
from harness.vm.snapshot import Snapshot
from harness.vm.vmstate_patch import without_host_times

if TYPE_CHECKING:
    from harness.vm.memory_delta import MemoryDelta

DELTAS = ("ram", "root")

_FORMAT = 2  # raise when the same inputs give another checkpoint
_ABOUT = "about.json"  # all that is known of it but its seal
_PAGES = "pages-"  # with the kernel's boot id behind it
_UNPACKING = ".unpacking"
_KEEPING = ".keeping-"
_RUNS = ".runs.lock"
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
    def _about(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / _ABOUT).read_text())
        except (OSError, ValueError) as error:
            raise MicrovmError(
                f"the checkpoint {self.key} does not say what it is of: {error}",
                hint="remove it: it is made again when it is needed",
            ) from error
        return found

    @property
    def whole(self) -> bool:
        """Whether its files are what was kept, and its base is there; see :mod:`.seal`."""
        try:
            return (self._sealed or self.in_use) and self.base.exists
        except (MicrovmError, KeyError, TypeError):
            return False

    @property
    def in_use(self) -> bool:
        """Whether its pages lie there as QEMU maps them."""
        return self._pages.is_dir()

    @property
    def _pages(self) -> Path:
        return self.folder / f"{_PAGES}{_boot_id()}"

    @property
    def _sealed(self) -> bool:
        there = all(packing.packed(self.folder / f"{name}.pages").exists() for name in DELTAS)
        return there and not seal.damage(self.folder, contents=False)

    @property
    def note(self) -> dict[str, str]:
        """What people are told of it."""
        return dict(self._about["note"])

    @property
    def wall_seconds(self) -> float:
        """For how long the guest stood still to be kept."""
        return float(self._about["wall_seconds"])

    @property
    def cpu_seconds(self) -> float:
        """The CPU time that it took to come here from the snapshot; 0 if nobody has counted."""
        return float(self._about.get("cpu_seconds", 0.0))

    @property
    def cache(self) -> Cache:
        """The cache it lies in."""
        return Cache(self.folder.parent.parent)

    @cached_property
    def base(self) -> Snapshot:
        """The snapshot whose pages are under its own."""
        return Snapshot(self.cache.root / "snapshot" / str(self._about["facts"]["base"]))

    @property
    def digest(self) -> str:
        """The sha256 of the whole machine, less its base: memory, root file system, devices.

        All of it is read.
        """
        from harness.vm.memory_delta import digest_of

        with self.pages() as folder:
            deltas = [digest_of(folder, name) for name in DELTAS]
        return _digest(self.base, deltas, self.state)

    @contextlib.contextmanager
    def pages(self) -> Iterator[Path]:
        """Yield the folder with its pages as QEMU maps them, unpacked now if they are not.

        They stay there as long as the context is open; what has mapped them by then keeps them.
        """
        with _lock(self.folder):
            if not self.in_use:
                self._unpack()
            yield self._pages

    @property
    def held(self) -> bool:
        """Whether somebody makes, packs, unpacks or thaws it just now."""
        try:
            with _lock(self.folder).acquire(timeout=0):
                return False
        except Timeout:
            return True

    def rest(self, *, within: float = -1) -> None:
        """Put it on the disk, sealed, with its pages compressed; nothing if it is so already.

        Guests that run from it go on. Raises :class:`OSError`, and filelock's Timeout if another
        process packs or thaws it for ``within`` seconds (below 0: whatever that takes).
        """
        with _lock(self.folder).acquire(timeout=within):
            if not self._sealed:
                for left in [path for path in self.folder.iterdir() if is_draft(path.name)]:
                    left.unlink()
                for name in DELTAS:
                    packing.pack(self._pages / f"{name}.pages", self.folder)
                seal.seal(self.folder, self._about)
            self._drop_pages()

    def _unpack(self) -> None:
        from harness.vm.memory_delta import pages_bytes

        self._drop_pages()
        draft = self.folder / _UNPACKING
        draft.mkdir()
        try:
            for name in DELTAS:
                index = self.folder / f"{name}.index"
                packing.unpack(self.folder / f"{name}.pages", draft, pages_bytes(index))
                shutil.copyfile(index, draft / index.name)
        except MicrovmError as error:
            (self.folder / _ABOUT).unlink(missing_ok=True)
            raise MicrovmError(
                f"the checkpoint {self.key} is damaged: {error.what}",
                hint="it has been removed, and is made again when it is needed: run this again",
            ) from error
        draft.rename(self._pages)

    def _drop_pages(self) -> None:
        """Remove its pages, those of earlier boots and what a killed process left as well."""
        for folder in (*self.folder.glob(f"{_PAGES}*"), self.folder / _UNPACKING):
            shutil.rmtree(folder, ignore_errors=True)

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
        return (self.folder / _ABOUT).stat().st_mtime

    def touch(self) -> None:
        """Note that it was used now, and its base with it."""
        with contextlib.suppress(OSError):
            os.utime(self.folder / _ABOUT)
        self.base.touch()


def store_of(cache: Cache) -> Path:
    """Return where a cache's checkpoints lie."""
    return cache.root / "checkpoint"


def checkpoints(cache: Cache) -> list[Checkpoint]:
    """Return all complete checkpoints in the cache whose base is there, the last used first."""
    found = [checkpoint for checkpoint in _all(cache) if checkpoint.whole]
    return sorted(found, key=lambda checkpoint: checkpoint.used_at, reverse=True)


def _all(cache: Cache) -> list[Checkpoint]:
    return [Checkpoint(folder) for folder in store_of(cache).glob("[!.]*")]


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
    with _lock(store / key_of(facts)):
        yield


def _lock(folder: Path) -> FileLock:
    """Return the lock of who makes, packs, unpacks or removes a checkpoint."""
    return FileLock(folder.with_name(f".{folder.name}.lock"))


@lru_cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def keep(
    emulator: Emulator,
    source: Snapshot | Checkpoint,
    run_folder: Path,
    facts: Mapping[str, Any],
    *,
    note: Mapping[str, str],
) -> Checkpoint:
    """Keep a machine that stands at a checkpoint, thawed from ``source`` into ``run_folder``.

    Whole or not at all, and in use: see :meth:`Checkpoint.rest`. ``facts`` as for :func:`key_of`;
    ``note`` is for people. :class:`MissingError` without room on the disk.
    """
    store = store_of(source.cache)
    store.mkdir(parents=True, exist_ok=True)
    kept = Checkpoint(store / key_of(facts))
    room = shutil.disk_usage(store).free
    if room < _NEEDED_FREE:
        raise MissingError(
            f"a checkpoint needs {human_size(_NEEDED_FREE)} under {store}, "
            f"{human_size(room)} are free",
            hint="free disk space, or prune old snapshots",
        )
    began, used = time.monotonic(), emulator.cpu_seconds()
    before = source.cpu_seconds if isinstance(source, Checkpoint) else 0.0
    with tempfile.TemporaryDirectory(prefix=f"{_KEEPING}{kept.key}-", dir=store) as work:
        draft = Path(work) / kept.key
        pages = draft / kept._pages.name
        pages.mkdir(parents=True)
        for delta in _deltas(emulator, source):
            delta.write(pages)
            shutil.copyfile(pages / f"{delta.name}.index", draft / f"{delta.name}.index")
        emulator.save_devices(draft / "state")
        sparse.copy(run_folder / "inbox", draft / "inbox")
        shutil.copyfile(run_folder / "console.log", draft / "console.log")
        manifest = _base_of(source).manifest
        about = {
            "facts": {**facts, "qemu": manifest.facts.qemu, "machine": manifest.facts.machine},
            "note": dict(note),
            "frozen_at": time.time(),
            "wall_seconds": round(time.monotonic() - began, 3),
            "cpu_seconds": round(before + used, 2),
        }
        (draft / _ABOUT).write_text(json.dumps(about, indent=1))
        shutil.rmtree(kept.folder, ignore_errors=True)
        draft.rename(kept.folder)
    return kept


def digest_now(emulator: Emulator, source: Snapshot | Checkpoint, run_folder: Path) -> str:
    """Return the digest of a machine that stands at a checkpoint, and keep nothing."""
    state = run_folder / "state-now"
    try:
        deltas = [delta.digest() for delta in _deltas(emulator, source)]
        emulator.save_devices(state)
        return _digest(_base_of(source), deltas, state)
    finally:
        state.unlink(missing_ok=True)


def _base_of(source: Snapshot | Checkpoint) -> Snapshot:
    return source.base if isinstance(source, Checkpoint) else source


def _deltas(emulator: Emulator, source: Snapshot | Checkpoint) -> Iterator[MemoryDelta]:
    from harness.vm.memory_delta import MemoryDelta  # numpy takes a while, and few runs need it

    before = source.folder if isinstance(source, Checkpoint) else None
    for name in DELTAS:
        yield MemoryDelta(emulator.process.pid, name, _base_of(source).folder, before)


def _digest(base: Snapshot, deltas: Iterable[str], state: Path) -> str:
    digest = hashlib.sha256(base.key.encode())
    for delta in deltas:
        digest.update(delta.encode())
    digest.update(without_host_times(state.read_bytes()))
    return digest.hexdigest()


def useless(cache: Cache) -> list[Checkpoint]:
    """Return the checkpoints that are damaged, or whose snapshot is gone.

    Not those that somebody holds: they are being made anew, unpacked or thawed.
    """
    return [each for each in _all(cache) if not each.whole and not each.held]


def half_kept(cache: Cache) -> list[Path]:
    """Return the folders of checkpoints that were not kept to the end, an hour old or more."""
    found = store_of(cache).glob(f"{_KEEPING}*")
    return [folder for folder in found if time.time() - folder.stat().st_mtime > _LONGEST]


def discard(checkpoint: Checkpoint, *, within: float = -1) -> None:
    """Remove a checkpoint that nobody packs, unpacks or thaws; guests that run from it go on.

    Waits for those who do, and raises filelock's Timeout if that takes more than ``within``
    seconds (below 0: whatever it takes).
    """
    with _lock(checkpoint.folder).acquire(timeout=within):
        (checkpoint.folder / _ABOUT).unlink(missing_ok=True)
        shutil.rmtree(checkpoint.folder, ignore_errors=True)


def prune_checkpoints(cache: Cache, *, most_bytes: int) -> list[str]:
    """Remove the checkpoints that are of no use, and the longest unused.

    Of the latter as many as it takes until the rest has no more than ``most_bytes``. What a killed
    process left behind goes too. One that somebody holds stays: the next call sees to it. Return
    the keys removed.
    """
    used = 0
    doomed = useless(cache)
    for checkpoint in checkpoints(cache):
        used += checkpoint.disk_bytes
        if used > most_bytes:
            doomed.append(checkpoint)
    removed = []
    for checkpoint in doomed:
        with contextlib.suppress(Timeout):
            discard(checkpoint, within=0)
            removed.append(checkpoint.key)
    for folder in half_kept(cache):
        shutil.rmtree(folder, ignore_errors=True)
    return removed


def rest(cache: Cache, *, in_use: int = 0) -> None:
    """Bring all checkpoints to rest but the ``in_use`` that were used last; see :meth:`.rest`.

    One that another process thaws just now stays in use, and so does one that the disk has no
    room for: the next call sees to it.
    """
    for checkpoint in [each for each in checkpoints(cache) if each.in_use][in_use:]:
        with contextlib.suppress(OSError):
            checkpoint.rest(within=0)


class RunLock:
    """Shared by all runs that thaw guests from a cache's checkpoints, by each of their processes.

    As long as one holds it, the end of another run leaves their pages unpacked
    (:func:`rest_after_run`). The kernel lets go of a dead process's. In a cache that this user
    may not write to there is none.
    """

    def __init__(self, cache: Cache) -> None:
        self._store = store_of(cache)
        self._file = -1

    def acquire(self) -> None:
        """Hold it from now on. Safe to call twice."""
        if self._file < 0:
            with contextlib.suppress(OSError):
                self._store.mkdir(parents=True, exist_ok=True)
                self._file = os.open(
                    self._store / _RUNS, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644
                )
                # At most for as long as another run looks whether anybody holds it.
                fcntl.flock(self._file, fcntl.LOCK_SH)

    def release(self) -> None:
        """Let go of it. Safe to call twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def rest_after_run(cache: Cache) -> None:
    """Bring all checkpoints to rest, unless another run is under way.

    That one would have to unpack them again; it brings them to rest when it ends.
    """
    for checkpoint in [each for each in checkpoints(cache) if each.in_use]:
        if run_under_way(cache):
            return
        with contextlib.suppress(OSError):
            checkpoint.rest(within=0)


def run_under_way(cache: Cache) -> bool:
    """Return whether anybody holds the cache's :class:`RunLock`."""
    return is_locked(store_of(cache) / _RUNS)
