"""What was built once and is not built again: the cache of root file systems and images.

An entry is a folder ``<root>/<kind>/<key>/``. It is built in a hidden sibling folder,
described by a ``manifest.json`` written last, synced, and moved to its name in one rename: a
folder that bears an entry's name is whole. One lock per entry keeps two builders apart, and
what a killed builder left is removed by the next one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import msgspec
from filelock import FileLock, Timeout
from platformdirs import user_cache_dir

from harness.errors import ImageError, UsageError
from harness.files import human_size, untrusted

MANIFEST = "manifest.json"
REBUILD_HINT = "remove it with `swarm-chaos clean --cache`; the next use builds it again"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]*")
_BUILDING = ".building-"
_FREE_AFTER = 64 << 20  # bytes that a build must leave free besides what it needs

Say = Callable[[str], None]
"""Takes one line of progress for the person at the terminal."""


def silent(_line: str) -> None:
    """Drop progress lines: the default of everything that takes a :data:`Say`."""


class Part(msgspec.Struct, frozen=True):
    """One file or folder at the top of an entry, as it was when the entry was made."""

    name: str
    """File name inside the entry."""
    tree: bool
    """Whether it is a folder; then ``size`` and ``sha256`` are those of :func:`tree_facts`."""
    size: int
    """Bytes of file content."""
    files: int
    """Number of files, folders and links: 1 for a file."""
    sha256: str
    """Hex digest of the content (for a folder: of names, modes, owners and contents)."""


class Manifest(msgspec.Struct, frozen=True):
    """What is known of an entry: when it was made, from what, and what it must look like."""

    kind: str
    key: str
    made: str
    """UTC, ISO 8601, to the second."""
    note: dict[str, object]
    """What the entry was made from, as its builder describes it."""
    parts: list[Part]

    @property
    def size(self) -> int:
        """Bytes of content over all parts."""
        return sum(part.size for part in self.parts)


@dataclass(frozen=True)
class Entry:
    """A finished entry: its folder and its manifest."""

    path: Path
    manifest: Manifest

    def damage(self, *, contents: bool) -> list[str]:
        """Return what is wrong with the entry, one sentence each; empty when it is undamaged.

        Without ``contents`` only names, sizes and counts are looked at (milliseconds); with it
        every byte is read and compared with the manifest's digests.
        """
        found: list[str] = []
        for part in self.manifest.parts:
            path = self.path / part.name
            try:
                found += _part_damage(path, part, contents=contents)
            except OSError as error:
                found.append(f"{path} cannot be read: {error.strerror}")
        return found


class Cache:
    """The cache below one folder; ordinary users and root each have their own.

    ``root`` defaults to ``$SWARM_CHAOS_CACHE``, else the user's cache folder. ``say`` gets a line
    when a wait or a rebuild is worth knowing about.
    """

    def __init__(self, root: Path | None = None, *, say: Say = silent) -> None:
        if root is None:
            named = os.environ.get("SWARM_CHAOS_CACHE")
            root = Path(named) if named else Path(user_cache_dir("swarm-chaos"))
        self.root = root.absolute()
        self.say = say
        # Its programs are run, by root too: it must not be anybody's to write to. A link is fine.
        where = self.root.resolve()
        if where.exists() and (trouble := untrusted(where)):
            raise ImageError(
                f"the cache {where} {trouble}",
                hint="set SWARM_CHAOS_CACHE to a folder of your own, or put owner and mode right",
            )

    def build(
        self,
        kind: str,
        key: str,
        recipe: Callable[[Path], None],
        note: Mapping[str, object] | Callable[[Path], Mapping[str, object]],
        *,
        need: int = 0,
    ) -> Path:
        """Return the folder of entry ``kind``/``key``, made by ``recipe`` if it is not there.

        ``recipe`` gets an empty folder and fills it; ``note`` says what the entry was made from
        (a callable is asked after the recipe, with the same folder). ``need`` is the space in
        bytes that the build takes at its largest. An entry whose files have gone or changed
        size is built again, and ``say`` is told. Raises :class:`ImageError` when the disk is too
        small; whatever the recipe raises goes through, and nothing of the attempt stays.
        """
        entry = self.find(kind, key)
        if entry is not None and not entry.damage(contents=False):
            return entry.path
        with self._locked(kind, key):
            entry = self.find(kind, key)
            if entry is not None:
                damage = entry.damage(contents=False)
                if not damage:
                    return entry.path  # another process built it while this one waited
                self.say(f"cached {kind}/{key} is damaged and is being rebuilt: {damage[0]}")
            self._sweep(kind, key)
            return self._build_locked(kind, key, recipe, note, need)

    def find(self, kind: str, key: str) -> Entry | None:
        """Return the finished entry ``kind``/``key``, or None; its files are not looked at."""
        path = self._folder(kind, key)
        try:
            raw = (path / MANIFEST).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ImageError(f"cannot read {path / MANIFEST}: {error.strerror}") from error
        try:
            return Entry(path, msgspec.json.decode(raw, type=Manifest))
        except msgspec.MsgspecError:
            return None  # as good as absent: build() replaces it

    def entries(self) -> list[Entry]:
        """Return all finished entries, by kind and key."""
        found = []
        for manifest in sorted(self.root.glob(f"[!.]*/[!.]*/{MANIFEST}")):
            entry = self.find(manifest.parent.parent.name, manifest.parent.name)
            if entry is not None:
                found.append(entry)
        return found

    def remove(self, kind: str, key: str) -> bool:
        """Remove an entry and what killed builds of it left; whether there was an entry."""
        if not self._folder(kind, key).parent.is_dir():
            return False
        with self._locked(kind, key):
            there = self._discard(kind, key)
            self._sweep(kind, key)
            return there

    def half_built(self) -> list[tuple[str, str]]:
        """Return kind and key of what killed builds left and no process is building now."""
        names = set()
        for leftover in self.root.glob(f"[!.]*/.*{_BUILDING}*"):
            key = leftover.name[1 : leftover.name.rindex(_BUILDING)]
            if not self._being_built(leftover.parent.name, key):
                names.add((leftover.parent.name, key))
        return sorted(names)

    def remove_half_built(self, kind: str, key: str) -> None:
        """Remove what killed builds of an entry left; the entry itself stays."""
        with self._locked(kind, key):
            self._sweep(kind, key)

    def _being_built(self, kind: str, key: str) -> bool:
        try:
            with FileLock(self._folder(kind, key).parent / f".{key}.lock", timeout=0):
                return False
        except Timeout:
            return True

    def _folder(self, kind: str, key: str) -> Path:
        for word in (kind, key):
            if not _NAME.fullmatch(word):
                raise UsageError(f"{word!r} cannot name a cache entry")
        return self.root / kind / key

    def _build_locked(
        self,
        kind: str,
        key: str,
        recipe: Callable[[Path], None],
        note: Mapping[str, object] | Callable[[Path], Mapping[str, object]],
        need: int,
    ) -> Path:
        target = self._folder(kind, key)
        free = shutil.disk_usage(target.parent).free
        if need and free < need + _FREE_AFTER:
            raise ImageError(
                f"building {kind}/{key} needs {human_size(need)} below {self.root}, "
                f"{human_size(free)} are free",
                hint="free some space, or set SWARM_CHAOS_CACHE to a folder on a larger disk",
            )
        work = Path(mkdtemp(prefix=f".{key}{_BUILDING}", dir=target.parent))
        try:
            work.chmod(0o755)
            recipe(work)
            said = note(work) if callable(note) else note
            parts = [_describe(path) for path in sorted(work.iterdir())]
            manifest = Manifest(kind, key, _now(), dict(said), parts)
            _write_synced(work / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
            _sync_filesystem(work)
            self._discard(kind, key)
            work.rename(target)
            _sync_folder(target.parent)
        except OSError as error:
            remove_tree(work)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise disk_full(f"building {kind}/{key}", target.parent) from error
            raise ImageError(f"building {kind}/{key} failed: {error}") from error
        except BaseException:
            remove_tree(work)
            raise
        return target

    def _discard(self, kind: str, key: str) -> bool:
        """Take an entry's name away at once, then its files."""
        target = self._folder(kind, key)
        if not target.exists():
            return False
        doomed = Path(mkdtemp(prefix=f".{key}{_BUILDING}", dir=target.parent))
        target.rename(doomed / "old")
        remove_tree(doomed)
        return True

    def _sweep(self, kind: str, key: str) -> None:
        """Remove what killed builds left; the caller holds the entry's lock."""
        for leftover in self._folder(kind, key).parent.glob(f".{key}{_BUILDING}*"):
            try:
                remove_tree(leftover)
            except (OSError, ImageError) as error:
                # a killed build's programs may be about to end; the next build tries again
                self.say(f"{leftover} of a build that was killed could not be removed: {error}")

    @contextmanager
    def _locked(self, kind: str, key: str) -> Iterator[None]:
        folder = self._folder(kind, key).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(
                f"cannot make the cache folder {folder}: {error.strerror}",
                hint="set SWARM_CHAOS_CACHE to a folder you may write to",
            ) from error
        lock = FileLock(folder / f".{key}.lock")
        try:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                self.say(f"waiting: another run is building {kind}/{key}")
                lock.acquire()
        except OSError as error:
            raise ImageError(
                f"cannot lock the cache entry {kind}/{key}: {error.strerror}",
                hint="set SWARM_CHAOS_CACHE to a folder you may write to",
            ) from error
        try:
            yield
        finally:
            lock.release()


def disk_full(doing: str, where: Path) -> ImageError:
    """Return the error for a disk that filled up while ``doing`` something below ``where``."""
    return ImageError(
        f"the disk filled up while {doing} below {where}",
        hint="free some space, or set SWARM_CHAOS_CACHE to a folder on a larger disk",
    )


def tree_facts(root: Path) -> tuple[int, int, str]:
    """(bytes, entries, sha256) of the folder ``root``.

    The digest covers relative names, kinds, modes, owners, link targets and contents, in the
    order of the names' bytes; it does not cover times, so a rebuilt tree can have the same one.
    """
    digest = hashlib.sha256()
    size = files = 0
    for path, facts in _walk(root):
        files += 1
        name = os.fsencode(path.relative_to(root))
        digest.update(b"%s\0%o\0%d\0%d\0" % (name, facts.st_mode, facts.st_uid, facts.st_gid))
        if stat.S_ISREG(facts.st_mode):
            size += facts.st_size
            digest.update(bytes.fromhex(file_sha256(path)))
        elif stat.S_ISLNK(facts.st_mode):
            digest.update(os.fsencode(path.readlink()))
        elif stat.S_ISCHR(facts.st_mode) or stat.S_ISBLK(facts.st_mode):
            digest.update(b"%d" % facts.st_rdev)
    return size, files, digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_tree(path: Path) -> None:
    """Remove ``path`` and all below it, unless something is mounted there.

    A root file system in the making may hold a bind mount of the host's /dev: removing through
    it would remove the host's devices, so that is an :class:`ImageError` instead.
    """
    if not path.exists() and not path.is_symlink():
        return
    inside = os.fsencode(path.resolve()) + b"/"
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_bytes().splitlines()]
    if any((mount + b"/").startswith(inside) for mount in mounts):
        raise ImageError(
            f"{path} cannot be removed: something is still mounted there",
            hint=f"unmount it: umount --recursive {path}",
        )
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=_make_removable)
    else:
        path.unlink()


def _make_removable(function: Callable[[str], object], name: str, _error: object) -> None:
    """Retry a refused removal after giving ourselves write access to the folder."""
    folder = Path(name).parent
    if not Path(name).exists() and not Path(name).is_symlink():
        return
    folder.chmod(0o700)
    if Path(name).is_dir() and not Path(name).is_symlink():
        Path(name).chmod(0o700)
        shutil.rmtree(name)
    else:
        function(name)


def _walk(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(root) as listing:
        found = sorted(listing, key=lambda entry: os.fsencode(entry.name))
    for entry in found:
        yield Path(entry.path), entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))


def _describe(path: Path) -> Part:
    if path.is_dir() and not path.is_symlink():
        size, files, sha256 = tree_facts(path)
        return Part(path.name, True, size, files, sha256)
    return Part(path.name, False, path.stat().st_size, 1, file_sha256(path))


def _part_damage(path: Path, part: Part, *, contents: bool) -> list[str]:
    if part.tree != path.is_dir():
        return [f"{path} is {'not a folder' if part.tree else 'not a file'}"]
    if not part.tree:
        size, files = path.stat().st_size, 1
    else:
        size = files = 0
        for _, facts in _walk(path):
            files += 1
            size += facts.st_size if stat.S_ISREG(facts.st_mode) else 0
    if (size, files) != (part.size, part.files):
        return [f"{path} has {size} bytes in {files} files, {part.size} in {part.files} were built"]
    if contents and _describe(path).sha256 != part.sha256:
        return [f"{path} has other contents than were built"]
    return []


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_filesystem(path: Path) -> None:
    """Put all of a build on disk before its rename: syncfs(2), which only coreutils offers."""
    done = subprocess.run(["sync", "--file-system", path], capture_output=True, check=False)
    if done.returncode:
        raise OSError(errno.EIO, f"sync: {done.stderr.decode(errors='replace').strip()}")
