"""Freezing: boot a guest, let it prepare, and keep the machine as it then is.

A snapshot is a folder: the memory and the root file system as sparse files, the state of the
devices, and a manifest of all that went in. Its name is a key made of the same facts, QEMU's
version and switches among them, so a stale snapshot cannot be found by mistake. It is sealed
(:mod:`harness.vm.seal`) before it gets that name; one that is found damaged is set aside.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from harness.errors import MicrovmError, MissingError
from harness.files import human_size
from harness.images import Cache, Say, silent
from harness.vm import content_hash, mailbox, seal, sparse
from harness.vm.console import follow, tail
from harness.vm.guest_image import BuiltImage, GuestImage
from harness.vm.initrd import (
    character_device,
    cpio,
    directory,
    load_order,
    module_bytes,
    parse_modules_dep,
    regular,
)
from harness.vm.kernel_modules import GUEST_MODULES, PMEM_MODULES
from harness.vm.lockstep import Lockstep, lockstep_for, source_digest
from harness.vm.machine import Accelerator, Clock, Files, Machine
from harness.vm.pool import available_memory_mib
from harness.vm.qemu_binary import VARIABLE, Qemu, provide_qemu
from harness.vm.qemu_process import Emulator
from harness.vm.scratch import Scratch, scratch_root

_MIB = 1 << 20
_FORMAT = 1  # raise when the same inputs give another snapshot
_GUEST_FILES = Path(__file__).parent / "guestfiles"
_NEEDED_FREE = 4 << 30
_FREEZING = ".freezing-"
_BROKEN = ".broken-"
_CHECKED = ".checked"  # its time is when all contents were last looked at
_CHECK_AGAIN = 7 * 86400.0  # seconds


@dataclass(frozen=True)
class FreezeSpec:
    """What to freeze.

    ``command`` runs in the guest as root, in the folder where ``payload`` (a tar) was unpacked,
    which is on PYTHONPATH too; it prepares and then calls
    :func:`harness.vm.guest_init.serve`. ``seed`` is the build's own. ``within`` is in wall
    seconds. ``note`` tells people what this is; it is kept in the manifest and not in the key.
    """

    image: GuestImage
    command: Sequence[str]
    payload: bytes
    machine: Machine = field(default_factory=Machine)
    environment: Mapping[str, str] = field(default_factory=dict)
    seed: int = 1
    within: float = 900.0
    note: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """A frozen machine in ``folder``."""

    folder: Path

    @property
    def key(self) -> str:
        """The snapshot's name."""
        return self.folder.name

    @property
    def exists(self) -> bool:
        """Whether there is such a snapshot, whole or damaged."""
        return (self.folder / seal.MANIFEST).exists()

    @cached_property
    def manifest(self) -> seal.Manifest:
        """What went in and what the freeze took; :class:`MicrovmError` if it cannot be read."""
        return seal.read(self.folder)

    @cached_property
    def machine(self) -> Machine:
        """The machine that was frozen; a thaw needs the same."""
        facts = dict(self.manifest.facts.machine)
        try:
            facts["clock"] = Clock(facts["clock"])
            facts["accelerator"] = Accelerator(facts["accelerator"])
            return Machine(**facts)
        except (KeyError, TypeError, ValueError) as error:
            raise MicrovmError(
                f"the snapshot {self.key} is of a machine that this harness does not know: {error}",
                hint="`swarm-chaos snapshots --prune --keep N` removes the oldest ones",
            ) from error

    def damage(self, *, contents: bool) -> str:
        """Return what is wrong with it, empty if nothing is; see :func:`harness.vm.seal.damage`."""
        found = seal.damage(self.folder, contents=contents)
        if contents and not found:
            with contextlib.suppress(OSError):
                (self.folder / _CHECKED).touch()
        return found

    @property
    def check_due(self) -> bool:
        """Whether its contents were not looked at for a week."""
        try:
            return time.time() - (self.folder / _CHECKED).stat().st_mtime > _CHECK_AGAIN
        except OSError:
            return True

    @property
    def cache(self) -> Cache:
        """The cache it lies in."""
        return Cache(self.folder.parent.parent)

    def qemu(self) -> Qemu:
        """Return the QEMU it was frozen by, which alone can wake it.

        :class:`MicrovmError` if another is in use by now.
        """
        here = provide_qemu(self.cache)
        frozen_by = self.manifest.facts.qemu
        if here.version != frozen_by:
            raise MicrovmError(
                f"the snapshot {self.key} was frozen by QEMU {frozen_by} and can be thawed by no "
                f"other; the one in use is {here.version}",
                hint=f"freeze again, or name that QEMU with {VARIABLE}",
            )
        return here

    @property
    def note(self) -> dict[str, str]:
        """What the freeze had to tell people; empty if nothing."""
        return self.manifest.note

    @property
    def disk_bytes(self) -> int:
        """Bytes on disk (the files are sparse)."""
        return sparse.disk_use(self.folder)

    @property
    def age_seconds(self) -> float:
        """Seconds since it was frozen."""
        return time.time() - self.manifest.frozen_at

    @property
    def used_at(self) -> float:
        """When it was last thawed or frozen, seconds since 1970."""
        return (self.folder / seal.MANIFEST).stat().st_mtime

    def touch(self) -> None:
        """Note that it was used now."""
        with contextlib.suppress(OSError):
            os.utime(self.folder / seal.MANIFEST)

    def files(self, run_folder: Path) -> Files:
        """Return the files behind a machine thawed from this snapshot into ``run_folder``."""
        return Files(
            ram=self.folder / "ram",
            root=self.folder / "root",
            root_mib=(self.folder / "root").stat().st_size // _MIB,
            inbox=run_folder / "inbox",
            outbox=run_folder / "outbox",
            console=run_folder / "console.log",
            kernel=self.folder / "vmlinuz",
            initrd=self.folder / "initrd",
        )

    @property
    def state(self) -> Path:
        """The file with the state of the devices."""
        return self.folder / "state"


def snapshots(cache: Cache) -> list[Snapshot]:
    """Return all complete snapshots in the cache, the most recently used first."""
    found = [Snapshot(manifest.parent) for manifest in _store(cache).glob(f"[!.]*/{seal.MANIFEST}")]
    return sorted(found, key=lambda snapshot: snapshot.used_at, reverse=True)


def prune(cache: Cache, *, keep: int) -> list[str]:
    """Remove all but the ``keep`` most recently used snapshots; returns the keys removed.

    Guests that run from a removed snapshot go on: they hold its files open. What killed freezes
    left behind and what was set aside goes too.
    """
    removed = []
    for snapshot in snapshots(cache)[keep:]:
        discard(snapshot)
        removed.append(snapshot.key)
    for leftover in (*half_frozen(cache), *set_aside(cache)):
        sweep(leftover)
    return removed


def half_frozen(cache: Cache) -> list[Path]:
    """Return the folders that killed freezes left; no freeze of the same machine is under way."""
    return [path for path in _store(cache).glob(f".*{_FREEZING}*") if not _being_frozen(path)]


def set_aside(cache: Cache) -> list[Path]:
    """Return the folders of damaged snapshots that were set aside."""
    return [path for path in _store(cache).glob(f".*{_BROKEN}*") if not _being_frozen(path)]


def sweep(leftover: Path) -> None:
    """Remove what a freeze left, unless a freeze of the same machine is under way."""
    with contextlib.suppress(Timeout), FileLock(_lock_of(leftover), timeout=0):
        shutil.rmtree(leftover)


def discard(snapshot: Snapshot) -> None:
    """Remove a snapshot."""
    with FileLock(_lock(snapshot.folder.parent, snapshot.key)):
        (snapshot.folder / seal.MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(snapshot.folder)


def set_aside_if_damaged(snapshot: Snapshot, *, say: Say = silent) -> bool:
    """Look at all of a snapshot, and take its name away if it is damaged.

    Return whether it is damaged or gone. ``say`` gets a sentence. The next freeze of the same
    machine makes another.
    """
    with FileLock(_lock(snapshot.folder.parent, snapshot.key)):
        return not snapshot.exists or not _sound(snapshot, contents=True, say=say)


def _sound(snapshot: Snapshot, *, contents: bool, say: Say) -> bool:
    """Return whether a snapshot can be used; set it aside if not. Its lock is the caller's."""
    damage = snapshot.damage(contents=contents)
    if damage:
        say(
            f"the snapshot {snapshot.key} is damaged and was set aside; it is frozen again when it "
            f"is needed ({damage})"
        )
        aside = snapshot.folder.with_name(f".{snapshot.key}{_BROKEN}{uuid4().hex[:8]}")
        try:
            snapshot.folder.rename(aside)
        except OSError as error:
            raise MicrovmError(
                f"the snapshot {snapshot.folder} is damaged ({damage}) and cannot be moved away: "
                f"{error.strerror}",
                hint="set SWARM_CHAOS_CACHE to a folder that you may write to",
            ) from error
    return not damage


def _store(cache: Cache) -> Path:
    return cache.root / "snapshot"


def _lock(store: Path, key: str) -> Path:
    return store / f".{key}.lock"


def _lock_of(leftover: Path) -> Path:
    name = leftover.name.removeprefix(".")
    return _lock(leftover.parent, name.partition(_FREEZING)[0].partition(_BROKEN)[0])


def _being_frozen(leftover: Path) -> bool:
    try:
        with FileLock(_lock_of(leftover), timeout=0):
            return False
    except Timeout:
        return True


def freeze(
    spec: FreezeSpec,
    cache: Cache,
    *,
    progress: Callable[[str], None] | None = None,
    say: Say = silent,
) -> Snapshot:
    """Return the snapshot of ``spec``: found in the cache, or made now.

    ``progress`` gets the console's lines while the guest boots, ``say`` is called when QEMU has to
    be fetched. Whole or not at all, and made once when two ask at once. Raises
    :class:`~harness.errors.MicrovmError` with the console's end when the guest dies or takes too
    long, :class:`~harness.errors.MissingError` without room on the disk.
    """
    qemu = provide_qemu(cache, say=say)
    built = spec.image.provide(cache)
    facts = {
        "format": _FORMAT,
        "qemu": qemu.version,
        "lockstep": source_digest(),
        "image": spec.image.key(cache),
        "guestfiles": {
            path.name: content_hash.of_bytes(path.read_bytes())
            for path in sorted(_GUEST_FILES.iterdir())
        },
        "command_line": spec.machine.kernel_command_line(0),
        "modules": [*PMEM_MODULES, *GUEST_MODULES],
        "machine": spec.machine.facts(),
        "command": list(spec.command),
        "environment": dict(spec.environment),
        "payload": content_hash.of_bytes(spec.payload),
        "seed": spec.seed,
    }
    key = content_hash.of_facts(facts)
    store = _store(cache)
    store.mkdir(parents=True, exist_ok=True)
    place = store / key
    found = Snapshot(place)
    if found.exists and not found.damage(contents=found.check_due):
        return found  # nothing to be locked: the cache may be one that is only read
    with FileLock(_lock(store, key)):
        if found.exists and _sound(found, contents=True, say=say):
            return found
        shutil.rmtree(place, ignore_errors=True)
        for leftover in store.glob(f".{key}{_FREEZING}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        room = shutil.disk_usage(store).free
        if room < _NEEDED_FREE:
            raise MissingError(
                f"a freeze needs {human_size(_NEEDED_FREE)} under {store}, "
                f"{human_size(room)} are free",
                hint="free disk space, or prune old snapshots",
            )
        with tempfile.TemporaryDirectory(prefix=f".{key}{_FREEZING}", dir=store) as work:
            draft = Path(work) / key
            draft.mkdir()
            started = time.monotonic()
            scratch = Scratch(_memory_place(spec.machine))
            lockstep = lockstep_for(spec.machine, cache, scratch.path, say=say)
            try:
                _boot(spec, qemu, lockstep, built, draft, scratch.path, progress)
            finally:
                scratch.remove()
            manifest = {
                "facts": facts,
                "note": dict(spec.note),
                "frozen_at": time.time(),
                "wall_seconds": round(time.monotonic() - started, 3),
            }
            seal.seal(draft, manifest)
            (draft / _CHECKED).touch()
            draft.rename(place)
            seal.sync(store)
    return Snapshot(place)


def _boot(
    spec: FreezeSpec,
    qemu: Qemu,
    lockstep: Lockstep | None,
    built: BuiltImage,
    draft: Path,
    fast: Path,
    progress: Callable[[str], None] | None,
) -> None:
    """Boot the guest and bring it to its freeze; what is kept ends up in ``draft``.

    Until then its memory lies in the folder ``fast``.
    """
    sparse.copy(built.root, draft / "root")
    shutil.copyfile(spec.image.kernel.vmlinuz, draft / "vmlinuz")
    (draft / "initrd").write_bytes(build_initrd(built))
    boot = mailbox.pack({"command.sh": _command_script(spec), "payload.tar": spec.payload})
    mailbox.write_file(draft / "inbox", boot, spec.machine.inbox_size)
    with (draft / "outbox").open("wb") as outbox:
        outbox.truncate(spec.machine.outbox_size)
    files = replace(Snapshot(draft).files(draft), ram=fast / "ram")
    emulator = Emulator(
        qemu,
        spec.machine.switches(files, seed=spec.seed, private=False),
        log=draft / "qemu.log",
        cpu=min(os.sched_getaffinity(0)) if lockstep else None,
        lockstep=lockstep,
    )
    try:
        emulator.go()
        _await_freeze(emulator, files.console, spec.within, progress)
        emulator.save_state(draft / "state")
    finally:
        emulator.close()
    for name in ("inbox", "outbox"):
        (draft / name).unlink()
    sparse.copy(files.ram, draft / "ram")
    sparse.dig_holes(draft / "root")


def _memory_place(machine: Machine) -> Path | None:
    """Return where a booting guest's memory lies: in memory if there is plenty, else on the disk.

    A file on a disk makes every first touch of a page a matter for the file system, and its
    pages are written out while the guest still changes them.
    """
    shared = scratch_root()
    if shared is None or shutil.disk_usage(shared).free < 2 * machine.memory_mib * _MIB:
        return None
    return shared if available_memory_mib() > 2 * machine.memory_mib else None


def _await_freeze(
    emulator: Emulator,
    console: Path,
    within: float,
    progress: Callable[[str], None] | None,
) -> None:
    deadline = time.monotonic() + within
    lines = follow(console)
    while True:
        event = None
        with contextlib.suppress(MicrovmError):  # QEMU is gone: said below, with the console
            event = emulator.qmp.wait_event({"GUEST_PANICKED", "SHUTDOWN"}, 0.2)
        for line in lines.fresh():
            if progress is not None:
                progress(line)
        if event is not None and event["event"] == "GUEST_PANICKED":
            return
        what = None
        if event is not None or emulator.ended() is not None:
            what = "the guest ended before it was frozen"
            if complaint := emulator.complaint():
                what = f"{what} (QEMU: {complaint})"
        elif time.monotonic() > deadline:
            what = f"the guest was not ready to be frozen within {within:g} s"
        if what is not None:
            raise MicrovmError(f"{what}; the end of its console:\n{tail(console)}")


def _command_script(spec: FreezeSpec) -> bytes:
    exports = [
        f"export {name}={shlex.quote(value)}" for name, value in sorted(spec.environment.items())
    ]
    return "\n".join(
        ["export PYTHONHASHSEED=0", *exports, f"exec {shlex.join(spec.command)}", ""]
    ).encode()


def build_initrd(built: BuiltImage) -> bytes:
    """Return the initial RAM disk for a guest image."""
    table = parse_modules_dep(built.modules_dep.read_text())
    # Every module a guest will need, decompressed and in order: under emulation this is
    # several seconds faster than modprobe on the compressed ones.
    order = load_order(table, [*PMEM_MODULES, *GUEST_MODULES])
    pmem = set(load_order(table, PMEM_MODULES))
    names = [f"{number:03d}.ko" for number, _ in enumerate(order)]
    init = (_GUEST_FILES / "initrd-init.sh").read_bytes()
    return cpio(
        [
            *(directory(name) for name in ("bin", "dev", "modules")),
            character_device("dev/console", 5, 1),
            regular("bin/busybox", built.busybox.read_bytes(), executable=True),
            regular("init", init, executable=True),
            regular("init.sh", (_GUEST_FILES / "init.sh").read_bytes()),
            regular(
                "modules/first",
                "".join(f"{n}\n" for n, f in zip(names, order, strict=True) if f in pmem).encode(),
            ),
            regular(
                "modules/then",
                "".join(
                    f"{n}\n" for n, f in zip(names, order, strict=True) if f not in pmem
                ).encode(),
            ),
            *(
                regular(f"modules/{name}", module_bytes(built.modules / file))
                for name, file in zip(names, order, strict=True)
            ),
        ]
    )
