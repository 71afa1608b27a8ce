"""A run as one file, and back: ``.tar.gz`` with the run's folder in it.

The same run gives the same bytes. Reading trusts nothing: only plain files and folders below one
folder are taken, by whatever path an archive names them, and never more than ``MOST_BYTES``.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp

from harness.errors import TrialError, UsageError
from harness.results.files import plain_files
from harness.results.run import RUN_FILE, TRIALS, read_run
from harness.results.writer import free_folder

MOST_BYTES = 16 << 30
MOST_FILES = 1_000_000
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Imported:
    """A run from an archive; ``damage`` says what ended the reading, "" if nothing did."""

    folder: Path
    damage: str


def export_run(folder: Path, to: Path) -> Path:
    """Write the run in ``folder`` into the archive ``to``, whole or not at all.

    Raises :class:`UsageError` if it is no run or ``to`` is there already, :class:`TrialError` if
    it cannot be written.
    """
    run = read_run(folder)
    name = folder.resolve().name
    if to.exists():
        raise UsageError(f"{to} is there already", hint="remove it, or name another file")
    half = to.with_name(f".{to.name}.part")
    try:
        with (
            half.open("wb") as raw,
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for path in sorted(plain_files(run.folder)):
                _add(tar, path, f"{name}/{path.relative_to(run.folder).as_posix()}")
        half.replace(to)
    except OSError as error:
        raise TrialError(f"cannot write {to}: {error.strerror}") from error
    finally:
        half.unlink(missing_ok=True)
    return to


def import_run(archive: Path, root: Path) -> Imported:
    """Unpack the run in ``archive`` under ``root``, by its own name or, when taken, a number.

    What is damaged is read as far as it goes. Raises :class:`UsageError` for a file that holds no
    run or names places outside of it, :class:`TrialError` if it cannot be written.
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
                f"{archive} holds no run" + (f": {damage}" if damage else ""),
                hint="an archive of `swarm-chaos results export` has the run's folder in it",
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
    """The name of the one folder in it, and what ended the reading."""
    name, damage = "", ""
    files = size = 0
    try:
        with gzip.open(archive) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            for member in tar:
                parts = _parts(member, archive)
                if not parts:
                    continue
                if name not in {"", parts[0]}:
                    raise UsageError(f"{archive} holds more than one folder: {name}, {parts[0]}")
                name = parts[0]
                files += 1
                size += member.size
                if files > MOST_FILES or size > MOST_BYTES:
                    raise UsageError(f"{archive} holds more than any run: {size} bytes so far")
                if member.isdir():
                    into.joinpath(*parts).mkdir(parents=True, exist_ok=True)
                elif len(parts) > 1:
                    _write(tar, member, into.joinpath(*parts))
            while packed.read(_CHUNK):
                pass  # the checksum of all comes last
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeError) as error:
        damage = f"the archive ends early or is damaged ({error})"
    return name, damage


def _parts(member: tarfile.TarInfo, archive: Path) -> tuple[str, ...]:
    """Where a member lies, checked; nothing for the archive's own root."""
    path = PurePosixPath(member.name)
    parts = tuple(part for part in path.parts if part != ".")
    foul = path.is_absolute() or any(p == ".." or "\\" in p or "\0" in p for p in parts)
    if foul or not (member.isfile() or member.isdir()):
        raise UsageError(
            f"{archive} holds {member.name!r}, which no run has",
            hint="nothing of it was unpacked; do not trust where it came from",
        )
    return parts


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    contents = tar.extractfile(member)
    assert contents is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.part")
    try:
        with contents, half.open("wb") as out:
            shutil.copyfileobj(contents, out, _CHUNK)
        if half.stat().st_size != member.size:
            raise tarfile.ReadError("unexpected end of data")
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
