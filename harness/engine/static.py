"""``dir:PATH`` engines: a folder of binaries laid out as Docker's static archives are.

Either today's names (``dockerd docker containerd containerd-shim-runc-v2 ctr runc docker-proxy
docker-init``) or those of 2017 (``docker-containerd docker-runc ...``), in PATH itself or in the
``docker/`` that unpacking an archive makes there. All files of the folder go into the root's
/usr/local/bin, ahead of Debian's.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from harness.errors import EngineError
from harness.images.cache import file_sha256
from harness.images.debian import SOURCE_DATE_EPOCH

_NEEDED = (
    ("dockerd",),
    ("containerd", "docker-containerd"),
    ("runc", "docker-runc"),
)
_HINT = "unpack one of Docker's static archives there: dockerd, containerd, runc and so on"
_MACHINE = f"take the archive that is built for this machine ({os.uname().machine})"
_RUN_WITHIN = 30.0  # seconds for `--version`


@dataclass(frozen=True)
class StaticArchive:
    """A folder of engine binaries that has all that a node needs."""

    folder: Path
    """Where the binaries lie."""
    binaries: tuple[str, ...]
    """Their file names, sorted."""
    digest: str
    """sha256 over names and contents."""

    def install(self, target: Path) -> None:
        """Copy the binaries into the existing folder ``target``, owner root, mode 0755."""
        for name in self.binaries:
            shutil.copyfile(self.folder / name, target / name)
            (target / name).chmod(0o755)

    def append_to(self, tar: Path, folder: str) -> None:
        """Append the binaries to an uncompressed tar, below ``folder``."""
        with tarfile.open(tar, "a") as archive:
            for name in self.binaries:
                path = self.folder / name
                member = tarfile.TarInfo(f"{folder}/{name}")
                member.size = path.stat().st_size
                member.mode = 0o755
                member.mtime = SOURCE_DATE_EPOCH
                with path.open("rb") as file:
                    archive.addfile(member, file)

    def read_back(self, rootfs: Path | None) -> str:
        """Return what the binaries print for ``--version``, one after the other, dockerd's first.

        They run inside ``rootfs`` (root only; they lie in its /usr/local/bin), or where they are.
        :class:`EngineError` with its own output when one that is needed does not run here.
        """
        said = []
        for choices in (*_NEEDED, ("docker",)):
            found = [name for name in choices if name in self.binaries]
            said += [self._version(name, rootfs, must=choices in _NEEDED) for name in found[:1]]
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in said if line)

    def _version(self, name: str, rootfs: Path | None, *, must: bool) -> str:
        if rootfs is None:
            command = [str(self.folder / name), "--version"]
        else:
            command = ["chroot", str(rootfs), f"/usr/local/bin/{name}", "--version"]
        if must and (other := _foreign_machine(self.folder / name)):
            raise EngineError(f"{self.folder / name} does not run here: {other}", hint=_MACHINE)
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_RUN_WITHIN,
                env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"},
                check=False,
            )
            code, output = done.returncode, (done.stderr or done.stdout).strip()
        except subprocess.TimeoutExpired:
            code, output = -1, f"no answer to --version within {_RUN_WITHIN:g} s"
        except OSError as error:
            code, output = -1, error.strerror or str(error)
        if code == 0:
            return done.stdout
        if must:
            raise EngineError(
                f"{self.folder / name} does not run here: {output or f'it ended with {code}'}",
                hint=_MACHINE,
            )
        return ""


def open_static(folder: Path) -> StaticArchive:
    """Look at ``folder``; :class:`EngineError` when it lacks a binary or one is not executable."""
    inner = folder / "docker"
    if not (folder / "dockerd").exists() and (inner / "dockerd").exists():
        folder = inner
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise EngineError(
            f"engine folder {folder} cannot be read: {error.strerror}", hint=_HINT
        ) from error
    for choices in _NEEDED:
        found = [name for name in choices if name in names]
        if not found:
            raise EngineError(f"engine folder {folder} has no {' or '.join(choices)}", hint=_HINT)
        if not (folder / found[0]).stat().st_mode & 0o111:
            raise EngineError(f"{folder / found[0]} is not executable", hint=f"chmod +x {folder}/*")
    digest = hashlib.sha256()
    try:
        for name in names:
            digest.update(f"{name}\0{file_sha256(folder / name)}\n".encode())
    except OSError as error:
        raise EngineError(
            f"engine folder {folder} cannot be read: {error.strerror}", hint=_HINT
        ) from error
    return StaticArchive(folder, tuple(names), digest.hexdigest())


def _foreign_machine(binary: Path) -> str | None:
    """What is wrong with an ELF file's machine, if it is not that of our own interpreter.

    Asked before it is run: chroot(1) hands what the kernel refuses to a shell, whose complaint
    tells nobody anything.
    """
    with binary.open("rb") as file, Path(sys.executable).open("rb") as own:
        head, ours = file.read(20), own.read(20)
    if head[:4] != b"\x7fELF" or (head[4:6], head[18:20]) == (ours[4:6], ours[18:20]):
        return None
    theirs, mine = (int.from_bytes(each[18:20], "little") for each in (head, ours))
    return f"it is built for another machine (ELF machine {theirs}, this one is {mine})"
