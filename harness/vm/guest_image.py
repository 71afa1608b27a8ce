"""The guest's root file system: one ext4 file, assembled by an ordinary user.

Debian's packages as a tar, Python packages from wheels made for the guest's Python (not the
host's), the kernel's modules, and whatever trees and files the caller wants in it. ``mke2fs -d``
writes the file system from a folder; for a caller who is not root ``fakeroot`` keeps owners and
device nodes.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import MicrovmError, MissingError
from harness.images import Cache, DebianRecipe, Say, root_tar, silent
from harness.images.kernel import DebianKernel
from harness.vm import content_hash

SITE = "opt/microvm/site"
"""Where Python packages lie in the guest; init.sh puts it on PYTHONPATH."""

KIND = "guest-image"
"""The cache's word for these."""

BASE_PACKAGES = (
    "busybox-static",
    "ca-certificates",
    "conntrack",
    "e2fsprogs",
    "iproute2",
    "ipvsadm",
    "iptables",
    "kmod",
    "libstdc++6",
    "mount",
    "nftables",
    "procps",
    "python3",
    "tcpdump",
    "util-linux",
)
"""What a guest needs of Debian besides the essential packages."""

FORGET_BYTE_CODE = 'rm -rf "$1/usr/share/python3/debpython/__pycache__"'
"""What py3compile leaves of itself while packages are installed is not the same for every user who
builds, and nothing in a guest uses it. All other byte code is py3compile's and repeats."""

_EPOCH = 1_767_225_600  # 2026-01-01, where the guest's clock starts
_NEED = 3 << 30  # bytes: tree and image side by side
_UUID = "6d766d00-0000-4000-8000-000000000001"
_HASH_SEED = "6d766d00-0000-4000-8000-000000000002"
_WHEELS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64")
_FORMAT = 8  # raise when what is made from the same inputs changes


def base_tar(cache: Cache, suite: str = "trixie", *, say: Say = silent) -> Path:
    """Return the tar of a Debian root with all that a guest needs, cached.

    As root, or as a user with a subordinate id range; errors as in :mod:`harness.images.debian`.
    """
    hooks = (FORGET_BYTE_CODE,)
    recipe = DebianRecipe(suite, BASE_PACKAGES, hooks=hooks)
    note: dict[str, object] = {}

    def make(work: Path) -> None:
        say(f"installing Debian {suite} for the guest (once)")
        note.update(root_tar(recipe, work / "root.tar", say=say).note())

    key = f"{suite}-{content_hash.of_facts({'packages': BASE_PACKAGES, 'hooks': hooks})[:12]}"
    return cache.build("guest-base", key, make, lambda _: note, need=1 << 30) / "root.tar"


@dataclass(frozen=True)
class BuiltImage:
    """A guest image on disk: the root file system, and what an initrd for it is made of."""

    root: Path
    busybox: Path
    modules: Path
    modules_dep: Path


@dataclass(frozen=True)
class GuestImage:
    """What goes into a guest's root file system; ``provide`` makes it or finds it made.

    ``base`` is a tar of a Debian root with python3, iproute2, kmod, mount and busybox-static in
    it. ``requirements`` are pip requirements for the guest's Python (``python_version``), bound by
    ``constraints``. ``trees`` are tars to unpack at a guest path, ``files`` single files to put
    at one. ``size_mib`` is the size of the (sparse) file system.
    """

    base: Path
    kernel: DebianKernel
    requirements: Sequence[str] = ()
    constraints: Path | None = None
    python_version: str = "3.13"
    trees: Mapping[str, Path] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    size_mib: int = 3072

    def key(self, cache: Cache) -> str:
        """Changes with everything that goes in; large files are read once and remembered."""
        memo = cache.root / "digests"
        return content_hash.of_facts(
            {
                "format": _FORMAT,
                "base": content_hash.of_file(self.base, memo),
                "kernel": [self.kernel.version, content_hash.of_file(self.kernel.vmlinuz, memo)],
                "requirements": sorted(self.requirements),
                "constraints": content_hash.of_file(self.constraints) if self.constraints else "",
                "python": self.python_version,
                "trees": {at: content_hash.of_file(tar, memo) for at, tar in self.trees.items()},
                "files": {at: content_hash.of_file(file, memo) for at, file in self.files.items()},
                "size": self.size_mib,
            }
        )

    def provide(self, cache: Cache, *, say: Say = silent) -> BuiltImage:
        """Return the image in the cache, made now if it is not there.

        Whole or not at all; two callers at once make it once. Raises
        :class:`~harness.errors.MissingError` for a missing host program,
        :class:`~harness.errors.MicrovmError` for what fails.
        """

        def recipe(work: Path) -> None:
            say("assembling the guest's root file system (once)")
            with tempfile.TemporaryDirectory(prefix="guest-image-", dir=work.parent) as scratch:
                self._build(Path(scratch), work)

        key = self.key(cache)
        note = {
            "kernel": self.kernel.version,
            "requirements": sorted(self.requirements),
            "trees": sorted(self.trees),
            "files": sorted(self.files),
        }
        place = cache.build(KIND, key, recipe, note, need=_NEED)
        return BuiltImage(
            root=place / "root.ext4",
            busybox=place / "busybox",
            modules=self.kernel.modules,
            modules_dep=place / "modules.dep",
        )

    def _build(self, scratch: Path, target: Path) -> None:
        """Fill ``target`` with what :class:`BuiltImage` names, by way of ``scratch``."""
        tree, site = scratch / "tree", scratch / "site"
        tree.mkdir()
        if self.requirements:
            self._install_python(site)
        script = scratch / "assemble.sh"
        script.write_text(self._script(tree, site, target))
        command = ["sh", "-eu", str(script)]
        if os.geteuid() != 0:
            command = [_program("fakeroot", "fakeroot"), "--", *command]
        environment = {
            **os.environ,
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
            "LC_ALL": "C",
            "TZ": "UTC",
            "SOURCE_DATE_EPOCH": str(_EPOCH),
            "E2FSPROGS_FAKE_TIME": str(_EPOCH),
        }
        environment.pop("PYTHONPATH", None)
        try:
            _run(command, "the guest's root file system could not be assembled", environment)
        finally:
            # Debian has folders that not even their owner may write to.
            subprocess.run(
                ["chmod", "-R", "u+rwX", str(tree)], stderr=subprocess.DEVNULL, check=False
            )

    def _install_python(self, site: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input"]
        command += ["--disable-pip-version-check", "--no-compile", "--target", str(site)]
        command += ["--only-binary=:all:", "--implementation", "cp"]
        command += ["--python-version", self.python_version]
        for platform in _WHEELS:
            command += ["--platform", platform]
        if self.constraints is not None:
            command += ["--constraint", str(self.constraints)]
        _run(
            [*command, *self.requirements],
            "the guest's Python packages could not be fetched",
            None,
        )
        _drop_commands_and_headers(site)

    def _script(self, tree: Path, site: Path, draft: Path) -> str:
        """Shell for all that has to happen under one fakeroot."""
        quote = shlex.quote
        mke2fs, debugfs, dumpe2fs = (
            quote(_program(name, "e2fsprogs")) for name in ("mke2fs", "debugfs", "dumpe2fs")
        )
        image = quote(str(draft / "root.ext4"))
        root = quote(str(tree))
        python = _by_loader(root, "python3", f"bin/python{self.python_version}")
        lines = [f"tar --numeric-owner -xpf {quote(str(self.base))} -C {root}"]
        for at, tar in sorted(self.trees.items()):
            spot = quote(str(tree / at.lstrip("/")))
            lines += [f"mkdir -p {spot}", f"tar --numeric-owner -xpf {quote(str(tar))} -C {spot}"]
        for at, file in sorted(self.files.items()):
            place = tree / at.lstrip("/")
            lines += [
                f"mkdir -p {quote(str(place.parent))}",
                f"cp {quote(str(file))} {quote(str(place))}",
            ]
        if site.exists():
            lines += [
                f"mkdir -p {quote(str((tree / SITE).parent))}",
                f"cp -r {quote(str(site))} {quote(str(tree / SITE))}",
                f"chown -R 0:0 {quote(str(tree / SITE))}",
                # Byte code by the guest's own Python: compiling under emulation takes long.
                f"PYTHONHOME={root}/usr {python}"
                f" -m compileall -q --invalidation-mode unchecked-hash -s {root}"
                # Some packages carry templates that are no Python: those are no reason to stop.
                f" {quote(str(tree / SITE))} >/dev/null || test $? = 1",
            ]
        version = self.kernel.version
        modules = quote(str(tree / "usr/lib/modules" / version))
        lines += [
            f"mkdir -p {quote(str(tree / 'usr/lib/modules'))}",
            f"cp -r {quote(str(self.kernel.modules))} {modules}",
            f"chown -R 0:0 {modules}",
            # The guest's own depmod: the host may have none, or an older one.
            f"{_by_loader(root, 'depmod', 'bin/kmod')} -b {root} {quote(version)}",
            f"cp {modules}/modules.dep {root}/usr/bin/busybox {quote(str(draft))}",
            f"mkdir -p {root}/proc {root}/sys {root}/dev {root}/run {root}/tmp",
            f"rm -rf {root}/var/cache/apt {root}/var/lib/apt/lists {root}/run/* {root}/dev/*",
            f": >{root}/etc/machine-id",
            f"printf 'nameserver 127.0.0.1\\n' >{root}/etc/resolv.conf",
            f"printf '127.0.0.1 localhost microvm\\n' >{root}/etc/hosts",
            f"find {root} -newermt @{_EPOCH} -exec touch -h -d @{_EPOCH} {{}} +",
            f"{mke2fs} -q -t ext4 -b 4096 -m 0 -N 262144 -L microvm -U {_UUID}"
            # No journal: nothing here survives a crash, and one thread less writes.
            " -O ^has_journal,^metadata_csum,^resize_inode"
            f" -E hash_seed={_HASH_SEED},lazy_itable_init=1,root_owner=0:0"
            f" -d {root} {image} {self.size_mib}M",
            # mke2fs takes over when files were last read and changed here, which nobody can set
            # but in the image. Inodes are given out from the first on; 11 is lost+found.
            f"used=$({dumpe2fs} -h {image} 2>/dev/null |"
            " awk '/^Inode count:/ {all = $3} /^Free inodes:/ {free = $3} END {print all - free}')",
            "{ "
            + " ".join(
                f"seq -f 'set_inode_field <%.0f> {time} @{_EPOCH}' 11 \"$used\";"
                for time in ("atime", "ctime")
            )
            # How much was ever written is counted, too; from 0 on neither debugfs nor a guest's
            # history adds what the host did.
            + " echo 'set_super_value kbytes_written 0';"
            + f" }} | {debugfs} -w -f - {image} >/dev/null 2>&1",
        ]
        return "\n".join(lines) + "\n"


def _drop_commands_and_headers(site: Path) -> None:
    """Remove what pip puts beside packages, which no guest could use.

    A command begins with the path of the host's Python, and whether that is one of a virtual
    environment decides where headers are: each would make another image of the same inputs.
    """
    beside = ("bin", "include")
    for name in beside:
        shutil.rmtree(site / name, ignore_errors=True)
    left_out = tuple(f"../../{name}/" for name in beside)
    for record in site.glob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if not line.startswith(left_out)))


def _by_loader(root: str, name: str, program: str) -> str:
    """Shell words that run a program of the guest's on the host, with the guest's libraries."""
    return (
        f"{root}/lib64/ld-linux-x86-64.so.2 --argv0 {name}"
        f" --library-path {root}/usr/lib/x86_64-linux-gnu {root}/usr/{program}"
    )


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise MissingError(
            f"making a guest image needs {name}, which is not on this machine",
            hint=f"apt-get install {package}",
        )
    return found


def _run(command: Sequence[str], what: str, environment: Mapping[str, str] | None) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        hint = None
        with contextlib.suppress(IndexError):
            if "No space left" in done.stderr or "Could not allocate block" in done.stderr:
                hint = "free disk space, or ask for a larger image"
        raise MicrovmError(f"{what}: {tail}", hint=hint)
