"""Freezing: boot a guest, let it prepare, and keep the machine as it then is.

A snapshot is a folder: the memory and the root file system as sparse files, the state of the
devices, and a manifest of all that went in. Its name is a key made of the same facts, QEMU's
version and switches among them, so a stale snapshot cannot be found by mistake.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.errors import MicrovmError, MissingError
from harness.files import human_size
from harness.images import Cache, Say, silent
from harness.vm import content_hash, mailbox, sparse
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
_MANIFEST = "manifest.json"
_FREEZING = ".freezing-"


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

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What went in and what the freeze took (``wall_seconds``)."""
        try:
            found: dict[str, Any] = json.loads((self.folder / _MANIFEST).read_text())
        except (OSError, ValueError) as error:
            raise MicrovmError(
                f"the snapshot {self.key} has no readable manifest: {error}",
                hint="remove it and freeze again",
            ) from error
        return found

    @cached_property
    def machine(self) -> Machine:
        """The machine that was frozen; a thaw needs the same."""
        facts = dict(self.manifest["facts"]["machine"])
        facts["clock"] = Clock(facts["clock"])
        facts["accelerator"] = Accelerator(facts["accelerator"])
        return Machine(**facts)

    @property
    def cache(self) -> Cache:
        """The cache it lies in."""
        return Cache(self.folder.parent.parent)

    def qemu(self) -> Qemu:
        """Return the QEMU it was frozen by, which alone can wake it.

        :class:`MicrovmError` if another is in use by now.
        """
        here = provide_qemu(self.cache)
        frozen_by = self.manifest["facts"]["qemu"]
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
        return dict(self.manifest.get("note", {}))

    @property
    def disk_bytes(self) -> int:
        """Bytes on disk (the files are sparse)."""
        return sparse.disk_use(self.folder)

    @property
    def age_seconds(self) -> float:
        """Seconds since it was frozen."""
        return time.time() - float(self.manifest["frozen_at"])

    @property
    def used_at(self) -> float:
        """When it was last thawed or frozen, seconds since 1970."""
        return (self.folder / _MANIFEST).stat().st_mtime

    def touch(self) -> None:
        """Note that it was used now."""
        with contextlib.suppress(OSError):
            os.utime(self.folder / _MANIFEST)

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
    found = [Snapshot(manifest.parent) for manifest in _store(cache).glob(f"[!.]*/{_MANIFEST}")]
    return sorted(found, key=lambda snapshot: snapshot.used_at, reverse=True)


def prune(cache: Cache, *, keep: int) -> list[str]:
    """Remove all but the ``keep`` most recently used snapshots; returns the keys removed.

    Guests that run from a removed snapshot go on: they hold its files open. What killed freezes
    left behind goes too.
    """
    removed = []
    for snapshot in snapshots(cache)[keep:]:
        with FileLock(_lock(_store(cache), snapshot.key)):
            (snapshot.folder / _MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(snapshot.folder, ignore_errors=True)
        removed.append(snapshot.key)
    for leftover in _store(cache).glob(f".*{_FREEZING}*"):
        _sweep(_store(cache), leftover)
    return removed


def _store(cache: Cache) -> Path:
    return cache.root / "snapshot"


def _lock(store: Path, key: str) -> Path:
    return store / f".{key}.lock"


def _sweep(store: Path, leftover: Path) -> None:
    """Remove what a freeze left, unless that freeze is still at it."""
    key = leftover.name.removeprefix(".").partition(_FREEZING)[0]
    with contextlib.suppress(Timeout), FileLock(_lock(store, key), timeout=0):
        shutil.rmtree(leftover, ignore_errors=True)


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
    with FileLock(_lock(store, key)):
        if (place / _MANIFEST).exists():
            return Snapshot(place)
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
            (draft / _MANIFEST).write_text(json.dumps(manifest, indent=1))
            draft.rename(place)
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
