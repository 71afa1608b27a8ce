"""Docker's own static archives: any release by its number, fetched once and kept.

Docker's download site is asked unless ``$SWARM_CHAOS_ARCHIVES`` names a mirror (the address above
``stable/x86_64/``) or a folder, laid out like the site or with the archives in it side by side.
Docker publishes no digests of these archives: what was fetched first is written down, and a
later download that differs is refused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote

import requests
from filelock import FileLock

from harness.engine.versions import release_in, release_key
from harness.errors import EngineError, UsageError
from harness.files import human_size, write_atomically
from harness.images import Cache, Say, silent
from harness.images.cache import file_sha256

DOCKER_SITE = "https://download.docker.com/linux/static"
SITE_VARIABLE = "SWARM_CHAOS_ARCHIVES"
KIND = "engine-archive"
SEEN_FILE = "archives-seen.json"
"""In the cache's folder: the sha256 with which each archive was first seen."""

_CHANNELS = ("stable", "edge", "test")
_LINK = re.compile(r"docker-(\d[\w.~-]*)\.tgz")
_CONNECT_WITHIN, _SILENT_FOR = 10.0, 30.0  # seconds: to connect, and between two pieces
_FETCH_WITHIN = 1200.0  # seconds for a whole archive: 80 MB over half a megabit a second
_LARGEST = 512 << 20  # bytes, packed; docker-28.5.2.tgz has some 80 MB
_LARGEST_UNPACKED = 2 << 30
_PIECE = 1 << 20


@dataclass(frozen=True)
class ArchiveSite:
    """Where archives come from: ``base`` is an address, or the path of a folder."""

    base: str
    machine: str = os.uname().machine

    @classmethod
    def from_environment(cls) -> ArchiveSite:
        """Return the site that ``$SWARM_CHAOS_ARCHIVES`` names, Docker's own without it."""
        named = os.environ.get(SITE_VARIABLE, "").strip()
        return cls(named.rstrip("/") or DOCKER_SITE)

    @property
    def is_folder(self) -> bool:
        """Return whether archives are read from disk."""
        return not self.base.startswith(("http://", "https://"))

    def places(self, release: str) -> list[str]:
        """Return the addresses or paths at which ``release`` may be, the likeliest first."""
        name = archive_name(release)
        channels = _CHANNELS if "-rc" not in name and "beta" not in name else _CHANNELS[::-1]
        found = [f"{self.base}/{channel}/{self.machine}/{name}" for channel in channels]
        return [f"{self.base}/{name}", *found] if self.is_folder else found

    def releases(self) -> list[str]:
        """Return the stable releases that the site lists, oldest first.

        :class:`EngineError` with the address when it cannot be asked.
        """
        if self.is_folder:
            folders = (Path(self.base), Path(self.base, "stable", self.machine))
            names = [path.name for folder in folders for path in folder.glob("docker-*.tgz")]
            if not names and not Path(self.base).is_dir():
                raise EngineError(f"{SITE_VARIABLE} names {self.base}, which is not a folder")
        else:
            address = f"{self.base}/stable/{self.machine}/"
            with closing(_get(address)) as answer:
                if answer.status_code != requests.codes.ok:
                    raise _unreachable(address, f"it answered {answer.status_code}")
                names = [f"docker-{unquote(link)}.tgz" for link in _LINK.findall(answer.text)]
        found = {release for name in names if (release := _release_of(name))}
        return sorted(found, key=release_key)


def archive_name(release: str) -> str:
    """Return the file name of a release: ``docker-17.05.0-ce.tgz``, ``docker-27.3.1.tgz``."""
    number = release_in(release) or release
    community = release_key("17.03.0") <= release_key(number) < release_key("18.09.0")
    if community and "-" in number:
        number = number.replace("-", "-ce-", 1).replace("rc.", "rc")
    elif community:
        number = f"{number}-ce"
    return f"docker-{number}.tgz"


def newest(pattern: str, site: ArchiveSite, cache: Cache, *, say: Say = silent) -> str:
    """Return the newest release that ``pattern`` (``26.1``, ``27.*``) means.

    Where the site cannot be asked, the newest that the cache has, and ``say`` is told.
    """
    beginning = pattern.removesuffix(".*") + "."
    try:
        known = site.releases()
    except EngineError as error:
        known = [found for found in _kept(cache) if found.startswith(beginning)]
        if not known:
            raise
        say(f"{error.what}; taking the newest {pattern} of the cache")
    matching = [release for release in known if release.startswith(beginning)]
    if not matching:
        listed = f"from {known[0]} to {known[-1]}" if known else "none"
        raise UsageError(
            f"engine {pattern!r}: {site.base} lists no such release",
            hint=f"it lists {len(known)} releases, {listed}: `swarm-chaos engines --remote`",
        )
    return matching[-1]


def provide_binaries(wanted: str, cache: Cache, *, say: Say = silent) -> Path:
    """Return the folder with the binaries of a release, fetched unless the cache has it.

    ``wanted`` is a release, or what the number of one begins with (:func:`newest`).
    :class:`EngineError` says the addresses that were tried and the way without them.
    """
    site = ArchiveSite.from_environment()
    release = wanted if release_in(wanted) else newest(wanted, site, cache, say=say)

    def recipe(work: Path) -> None:
        with TemporaryDirectory(dir=work) as scratch:
            packed = Path(scratch, archive_name(release))
            place = _download(site, release, packed, say)
            _trust_first(cache, packed, place)
            unpack(packed, work / "docker", place)

    note = {"release": release, "site": site.base}
    return cache.build(KIND, _key(release), recipe, note, need=_LARGEST) / "docker"


def find(release: str, cache: Cache) -> Path | None:
    """Return the folder with the binaries of ``release`` if the cache has it."""
    entry = cache.find(KIND, _key(release))
    return entry.path / "docker" if entry is not None else None


def unpack(packed: Path, target: Path, place: str) -> None:
    """Unpack the binaries of an archive into the new folder ``target``.

    :class:`EngineError` for what is cut off, is no archive, or wants to be elsewhere.
    """
    target.mkdir()
    try:
        with tarfile.open(packed, "r:gz") as archive:
            for member in _binaries(archive, place):
                source = archive.extractfile(member)
                assert source is not None  # a regular file has content
                path = target / Path(member.name).name
                with path.open("wb") as file:
                    shutil.copyfileobj(source, file, _PIECE)
                path.chmod(0o755)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise EngineError(
            f"the archive from {place} is cut off or not a gzipped tar: {error}",
            hint="fetch it again, or unpack it by hand and give the folder as dir:PATH",
        ) from error


def _binaries(archive: tarfile.TarFile, place: str) -> Iterator[tarfile.TarInfo]:
    """Yield the regular files of an archive, all of which lie in its one folder."""
    total = 0
    for member in archive:
        if member.isdir():
            continue
        parts = Path(member.name).parts
        within = len(parts) <= 2 and not member.name.startswith("/") and ".." not in parts
        total += member.size
        if not within or not member.isreg() or total > _LARGEST_UNPACKED:
            raise EngineError(
                f"the archive from {place} holds {member.name[:80]!r}, "
                f"which Docker's archives do not",
                hint="take it from Docker's own site, or look at it and give dir:PATH",
            )
        yield member


def _download(site: ArchiveSite, release: str, target: Path, say: Say) -> str:
    """Fetch an archive into ``target``; return where it was."""
    places = site.places(release)
    for place in places:
        if site.is_folder:
            if Path(place).is_file():
                shutil.copyfile(place, target)
                return place
            continue
        with closing(_get(place)) as answer:
            if answer.status_code == requests.codes.ok:
                say(f"fetching {place}")
                _write(answer, target, place)
                return place
    raise EngineError(
        f"there is no archive of Docker {release}: tried {', '.join(places)}",
        hint=f"`swarm-chaos engines --remote` lists what there is, {SITE_VARIABLE} names a "
        "mirror or a folder, and dir:PATH takes binaries that you unpacked",
    )


def _get(address: str) -> requests.Response:
    """Return the answer to a request, 200 or 404; its body is not read yet."""
    try:
        answer = requests.get(address, stream=True, timeout=(_CONNECT_WITHIN, _SILENT_FOR))
    except requests.RequestException as error:
        raise _unreachable(address, _plain(error)) from error
    if answer.status_code not in (requests.codes.ok, requests.codes.not_found):
        answer.close()
        raise _unreachable(address, f"it answered {answer.status_code} {answer.reason}")
    return answer


def _write(answer: requests.Response, target: Path, place: str) -> None:
    promised = answer.headers.get("Content-Length", "")
    deadline = time.monotonic() + _FETCH_WITHIN
    size = 0
    try:
        with target.open("wb") as file:
            for piece in answer.iter_content(_PIECE):
                size += file.write(piece)
                if size > _LARGEST:
                    raise EngineError(f"{place} is larger than {human_size(_LARGEST)}")
                if time.monotonic() > deadline:
                    raise _unreachable(place, f"only {human_size(size)} in {_FETCH_WITHIN:g} s")
    except requests.RequestException as error:
        raise _unreachable(place, f"it broke off after {human_size(size)}") from error
    if promised.isdigit() and int(promised) != size:
        raise _unreachable(place, f"it sent {size} of {promised} bytes")


def _trust_first(cache: Cache, packed: Path, place: str) -> None:
    """Write down the digest of an archive never seen before; refuse one that has changed."""
    digest = file_sha256(packed)
    file = cache.root / SEEN_FILE
    with FileLock(cache.root / f".{SEEN_FILE}.lock"):
        try:
            seen = json.loads(file.read_text())
        except (OSError, ValueError):
            seen = {}
        first = seen.setdefault(
            packed.name,
            {"sha256": digest, "from": place, "on": time.strftime("%Y-%m-%d", time.gmtime())},
        )
        if first["sha256"] != digest:
            raise EngineError(
                f"{place} is not what it was on {first['on']}, when it came from "
                f"{first['from']}: its sha256 was {first['sha256']} and is {digest}",
                hint=f"find out why; to trust the new one remove {packed.name} from {file}",
            )
        write_atomically(file, json.dumps(seen, indent=2, sort_keys=True) + "\n")


def _unreachable(place: str, why: str) -> EngineError:
    return EngineError(
        f"{place} could not be fetched: {why}",
        hint=f"{SITE_VARIABLE} names a mirror or a folder with the archives; or fetch it "
        "elsewhere, unpack it and give the folder as dir:PATH",
    )


def _plain(error: requests.RequestException) -> str:
    """The last and plainest words of what lies below a request that failed."""
    cause: BaseException = error
    while (below := cause.__cause__ or cause.__context__) is not None:
        cause = below
    return str(cause) or type(cause).__name__


def _release_of(name: str) -> str | None:
    """The release of an archive's file name; None for those of clients and rootless extras."""
    found = _LINK.fullmatch(name)
    return release_in(found[1]) if found else None


def _kept(cache: Cache) -> list[str]:
    found = [e.manifest.note.get("release") for e in cache.entries() if e.manifest.kind == KIND]
    return sorted((str(release) for release in found if release), key=release_key)


def _key(release: str) -> str:
    return f"{release_in(release) or release}-{os.uname().machine}"
