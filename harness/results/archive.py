"""Export a run as a ``.tar.gz`` of its folder, and import it.

Exporting a run twice gives byte-identical archives. Importing trusts nothing: only regular files
and folders below one plainly named folder are accepted, and at most ``MOST_BYTES``.
"""

from __future__ import annotations

import gzip
import re
import shutil
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp

from harness.errors import TrialError, UsageError
from harness.files import replacing
from harness.results.files import plain_files
from harness.results.run import LATEST, RUN_FILE, TRIALS, read_run
from harness.results.writer import free_folder

MOST_BYTES = 16 << 30
MOST_FILES = 1_000_000
_CHUNK = 1 << 20
_RUN_NAME = re.compile(r"[^\W_][\w.+~ -]{0,199}")


@dataclass(frozen=True)
class Imported:
    """An imported run; ``damage`` says what ended the reading, "" if nothing."""

    folder: Path
    damage: str


def export_run(folder: Path, to: Path) -> Path:
    """Write the run in ``folder`` into the archive ``to``, completely or not at all.

    Raises :class:`UsageError` if it is not a run or ``to`` exists already, :class:`TrialError`
    if it cannot be written.
    """
    run = read_run(folder)
    name = folder.resolve().name
    if to.exists():
        raise UsageError(f"{to} exists already", hint="remove it, or name another file")
    try:
        with (
            replacing(to) as draft,
            draft.open("wb") as raw,
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for path in sorted(plain_files(run.folder)):
                _add(tar, path, f"{name}/{path.relative_to(run.folder).as_posix()}")
    except OSError as error:
        raise TrialError(f"cannot write {to}: {error.strerror}") from error
    return to


def import_run(archive: Path, root: Path) -> Imported:
    """Unpack the run in ``archive`` under ``root``, under its own name, numbered if that exists.

    A damaged archive is read as far as possible. Raises :class:`UsageError` for a file that does
    not hold a run, whose folder is named as no run is, or with paths outside that folder;
    :class:`TrialError` if it cannot be written.
    """
    if not archive.is_file():
        raise UsageError(f"there is no archive {archive}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        half = Path(mkdtemp(prefix=".import-", suffix=".part", dir=root))
    except OSError as error:
        raise TrialError(f"cannot write into {root}: {error.strerror}") from error
    try:
        name, damage = _unpack(archive, half)
        inside = half / name
        if not (inside / RUN_FILE).is_file() and not (inside / TRIALS).is_dir():
            raise UsageError(
                f"{archive} does not contain a run" + (f": {damage}" if damage else ""),
                hint="make one with `swarm-chaos results export`",
            )
        target = free_folder(root, name)
        target.rmdir()
        inside.rename(target)
    except OSError as error:
        raise TrialError(f"cannot unpack {archive}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return Imported(target, damage)


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = path.stat().st_size
    member.mode = 0o644
    with path.open("rb") as contents:
        tar.addfile(member, contents)


def _unpack(archive: Path, into: Path) -> tuple[str, str]:
    """Return the name of the folder in the archive, and what ended the reading."""
    name, damage = "", ""
    files = size = 0
    try:
        with gzip.open(archive) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            for member in tar:
                parts = _parts(member, archive)
                if not parts:
                    continue
                if name not in {"", parts[0]}:
                    raise UsageError(f"{archive} contains more than one folder: {name}, {parts[0]}")
                if not name:
                    _check_name(parts[0], archive)
                name = parts[0]
                files += 1
                size += member.size
                if files > MOST_FILES or size > MOST_BYTES:
                    raise UsageError(f"{archive} is larger than any run: {size:,} bytes so far")
                if member.isdir():
                    into.joinpath(*parts).mkdir(parents=True, exist_ok=True)
                elif len(parts) > 1:
                    _write(tar, member, into.joinpath(*parts))
            while packed.read(_CHUNK):
                pass  # the checksum comes last
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError) as error:
        damage = f"the archive ends early or is damaged ({error})"
    return name, damage


def _check_name(name: str, archive: Path) -> None:
    # "latest" is the link to the newest run, and hidden folders belong to git and the like.
    if not _RUN_NAME.fullmatch(name) or name == LATEST:
        raise UsageError(
            f"{archive} contains the folder {name!r}, which is not a valid name for a run",
            hint=f"nothing was unpacked; a name has letters, digits, spaces and . _ + - ~ only, "
            f"begins with a letter or digit, and is not {LATEST!r}",
        )


def _parts(member: tarfile.TarInfo, archive: Path) -> tuple[str, ...]:
    """Return the checked path of a member, empty for the archive's own root."""
    path = PurePosixPath(member.name)
    parts = tuple(part for part in path.parts if part != ".")
    unsafe = path.is_absolute() or any(p == ".." or "\\" in p or "\0" in p for p in parts)
    if unsafe or not (member.isfile() or member.isdir()):
        raise UsageError(
            f"{archive} contains {member.name!r}, which cannot belong to a run",
            hint="nothing was unpacked; do not trust the source of this archive",
        )
    return parts


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    contents = tar.extractfile(member)
    assert contents is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        with contents, draft.open("wb") as out:
            shutil.copyfileobj(contents, out, _CHUNK)
        if draft.stat().st_size != member.size:
            raise tarfile.ReadError("unexpected end of data")
