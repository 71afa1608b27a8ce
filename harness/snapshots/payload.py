"""What a trial brings into its guest: its sources and their byte code.

Compiling under emulation takes seconds, so it is done before. The byte code is made by the
guest's own Python, run on the host through its own loader, so that no Python of the host needs
to be of the same version. A guest that finds none, or one of another version, compiles the
sources as ever.

Writing hundreds of small files takes a guest more than a second too, so the harness comes as one
archive to import from.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.errors import MicrovmError
from harness.guest.contract import ARCHIVE, FROZEN_WITH
from harness.images import Cache, Say, silent
from harness.snapshots.source_bundle import digest, freezing_sources, is_pytests, trial_sources
from harness.vm.contract import PAYLOAD_AT
from harness.vm.guest_image import base_tar
from harness.vm.mailbox import pack
from harness.vm.scratch import PAYLOAD, Scratch

KIND = "guest-python"
_REVISION = 1
_PACKAGE = "harness/"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first that an archive can name
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_KEPT = re.compile(
    r"usr/bin/python3(\.\d+)?|usr/lib/python3\.\d+/(?!test/|idlelib/|tkinter/|ensurepip/).*\.py"
    rf"|{_LIBRARIES}/(ld-linux-x86-64|libc|libm|libz|libexpat)\.so\.[^/]*"
)

#: Marked as needing no check: a trial's files have no times to be held against.
_COMPILE = """
import json, py_compile, sys
root, places = sys.argv[1], json.load(sys.stdin)
for name, place in places.items():
    py_compile.compile(
        f"{root}/{name}", dfile=place, doraise=False, quiet=2,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
"""


def trial_payload(
    root: Path,
    folders: Iterable[str],
    cache: Cache,
    *,
    python_path: Iterable[Path] = (),
    say: Say = silent,
) -> bytes:
    """Return what a trial brings into a guest, as a tar: the harness, the project's ``folders``.

    ``python_path`` as for :func:`~harness.snapshots.source_bundle.trial_sources`.
    """
    return packed(trial_sources(root, folders, python_path), cache, say=say)


def packed(files: Mapping[str, bytes], cache: Cache, *, say: Say = silent) -> bytes:
    """Return ``files`` (contents by path) as a payload: with byte code, the harness in one archive.

    And with a note of what it expects to find in the guest.
    """
    expected = {FROZEN_WITH: digest(freezing_sources()).encode()}
    return pack(archived(with_byte_code(files, cache, say=say)) | expected)


def archived(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return ``files`` with all of the harness in :data:`~harness.guest.contract.ARCHIVE`.

    A zip that Python imports from: byte code lies next to its source there, under its plain name.
    Nothing is compressed, so the same files give a byte-identical archive whatever the host's zlib.
    """
    inside = {
        _beside_source(name): content
        for name, content in files.items()
        if name.startswith(_PACKAGE)
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as out:
        for name in sorted(inside):
            out.writestr(zipfile.ZipInfo(name, _EPOCH), inside[name])
    outside = {name: body for name, body in files.items() if not name.startswith(_PACKAGE)}
    return {**outside, ARCHIVE: archive.getvalue()}


def _beside_source(name: str) -> str:
    """Return where byte code lies next to its source: ``module.pyc`` for ``__pycache__/…pyc``."""
    folder, _, file = name.rpartition("/")
    if not folder.endswith("/__pycache__"):
        return name
    return f"{folder.removesuffix('__pycache__')}{file.partition('.')[0]}.pyc"


def with_byte_code(
    files: Mapping[str, bytes], cache: Cache, *, say: Say = silent
) -> dict[str, bytes]:
    """Return ``files`` (contents by path) and the byte code of the Python sources among them.

    Two calls with the same files give byte-identical results. A source that does not compile is
    left as it is: whoever imports it gets the error. Raises :class:`MicrovmError` if the guest's
    Python does not run on this host.
    """
    python = _guest_python(cache, say)
    sources = sorted(
        name for name in files if name.endswith(".py") and not is_pytests(name.rpartition("/")[2])
    )
    scratch = Scratch(None, PAYLOAD)
    root = scratch.path
    try:
        for name in sources:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[name])
        done = subprocess.run(
            [
                *(f"{python / _LIBRARIES}/ld-linux-x86-64.so.2", "--library-path"),
                *(f"{python / _LIBRARIES}", f"{python}/usr/bin/python3"),
                *("-S", "-B", "-c", _COMPILE, str(root)),
            ],
            env={"PYTHONHOME": f"{python}/usr", "PATH": "/nowhere", "PYTHONHASHSEED": "0"},
            input=json.dumps({name: _place(name) for name in sources}),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            raise MicrovmError(
                f"the guest's Python does not compile on this host: {done.stderr.strip()[-300:]}"
            )
        made = {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob("__pycache__/*.pyc"))
        }
    finally:
        scratch.remove()
    return {**files, **made}


def _place(name: str) -> str:
    """Where a guest has a file: what is imported from an archive must name its source itself."""
    above = f"{PAYLOAD_AT}/{ARCHIVE}" if name.startswith(_PACKAGE) else PAYLOAD_AT
    return f"{above}/{name}"


def _guest_python(cache: Cache, say: Say) -> Path:
    """Return the guest's Python and its library, unpacked; found in the cache or made."""
    base = base_tar(cache, say=say)

    def unpack(work: Path) -> None:
        with tarfile.open(base, "r:") as archive:
            for member in archive:
                member.name = member.name.removeprefix("./")
                if not _KEPT.fullmatch(member.name) or not (member.isfile() or member.issym()):
                    continue
                path = work / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                if member.issym():
                    path.symlink_to(member.linkname)
                elif (source := archive.extractfile(member)) is not None:
                    path.write_bytes(source.read())
                    path.chmod(member.mode & 0o755)

    key = f"{base.parent.name}-r{_REVISION}"
    note = {"base": base.parent.name}
    return cache.build(KIND, key, unpack, note, need=64 << 20)
