"""Debian's QEMU in the cache, from packages made up for it; and a QEMU of the user's own."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from optionals import not_none

from harness.errors import ImageError, MissingError, UsageError
from harness.images import Cache
from harness.images.debian_qemu import FIRMWARE, PROGRAM, cached_qemu, debian_qemu, parse_version
from harness.vm.qemu_binary import own_qemu, provide_qemu, qemu_at_hand

LIBRARIES = "usr/lib/x86_64-linux-gnu"
VERSION = "10.0.13 Debian 1:10.0.13+ds-0+deb13u1"
ANSWER = "QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)"

#: Stands in for the loader: lists the libraries, or says what the program would.
LOADER = f"""#!/bin/sh
here=$(dirname "$0")
case "$*" in
  *--list*)
    echo "	linux-vdso.so.1 (0x00007f0000000000)"
    echo "	libz.so.1 => $here/libz.so.1 (0x00007f0000001000)"
    echo "	/lib64/ld-linux-x86-64.so.2 => $here/ld-linux-x86-64.so.2 (0x00007f0000002000)"
    ;;
  *--version*) echo "{ANSWER}"; cat "$here/libz.so.1" >/dev/null ;;
  *) echo "$@" ;;
esac
"""


def packages(**changed: str) -> dict[str, str | tuple[str]]:
    """Names and contents of what the packages bring; a tuple is a link to its first word."""
    files = {
        f"usr/bin/{PROGRAM}": "program",
        "usr/bin/qemu-system-i386": "another program",
        f"{LIBRARIES}/ld-linux-x86-64.so.2": LOADER,
        f"{LIBRARIES}/libz.so.1": ("libz.so.1.3.1",),
        f"{LIBRARIES}/libz.so.1.3.1": "zip",
        f"{LIBRARIES}/libodd.so.1": ("/etc/alternatives/libodd",),
        f"{LIBRARIES}/libunused.so.1": "unused",
        f"{LIBRARIES}/qemu/audio-alsa.so": "a module",
        "usr/share/qemu/skiboot.lid": "a ROM of another machine",
        "usr/share/qemu/kvmvapic.bin": "vapic",
        "usr/share/qemu/linuxboot_dma.bin": "boot",
        "usr/share/seabios/bios-256k.bin": "bios",
        "usr/share/doc/bios-256k.bin": "no firmware",
        "var/lib/dpkg/status": "",
    }
    for name, content in changed.items():
        [path] = [path for path in files if path.rpartition("/")[2] == name]
        files[path] = content
    return {name: content for name, content in files.items() if content is not None}  # type: ignore[misc]


def write_tar(path: Path, files: Mapping[str, str | tuple[str]]) -> None:
    with tarfile.open(path, "w:") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            if isinstance(content, tuple):
                member.type, member.linkname = tarfile.SYMTYPE, content[0]
                archive.addfile(member)
            else:
                member.mode, member.size = 0o4755, len(content)
                archive.addfile(member, io.BytesIO(content.encode()))


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Callable[..., Any]]:
    """A function that has mmdebstrap bring these packages; returns how often it was called."""
    monkeypatch.delenv("SWARM_CHAOS_QEMU", raising=False)
    monkeypatch.delenv("SWARM_CHAOS_MIRROR", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr("os.uname", lambda: machine("x86_64"))
    (tmp_path / "bin").mkdir()
    calls = tmp_path / "calls"

    def serve(files: Mapping[str, str | tuple[str]]) -> Callable[..., Any]:
        write_tar(tmp_path / "tar", files)
        portable_program = tmp_path / "bin" / "mmdebstrap"
        portable_program.write_text(f'#!/bin/sh\necho "$@" >>{calls}\ncat {tmp_path / "tar"}\n')
        portable_program.chmod(0o755)
        return lambda: calls.read_text().splitlines() if calls.exists() else []

    return serve


class machine:  # noqa: N801
    def __init__(self, kind: str) -> None:
        self.machine = kind


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def kept(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def test_what_runs_a_guest_is_kept_and_nothing_else(
    mirror: Callable[..., Callable[..., Any]], cache: Cache
) -> None:
    calls = mirror(packages())
    said: list[Any] = []
    found = debian_qemu(cache, say=said.append)
    assert kept(found.folder) == {
        f"bin/{PROGRAM}",
        "lib/ld-linux-x86-64.so.2",
        "lib/libz.so.1",
        *(f"firmware/{rom}" for rom in FIRMWARE),
    }
    assert (found.folder / "lib/libz.so.1").read_text() == "zip"
    assert (found.folder / "firmware/bios-256k.bin").read_text() == "bios"
    assert not any(path.is_symlink() for path in found.folder.rglob("*"))
    assert (found.folder / f"bin/{PROGRAM}").stat().st_mode & 0o7777 == 0o755
    assert found.version == VERSION
    assert said == ["fetching QEMU from Debian trixie (once)"]
    [call] = calls()
    assert "--variant=extract" in call
    assert call.split()[-2:] == ["trixie", "-"]


def test_it_is_fetched_once_and_the_manifest_says_what_it_is(
    mirror: Callable[..., Callable[..., Any]], cache: Cache
) -> None:
    calls = mirror(packages())
    assert cached_qemu(cache) is None
    first = debian_qemu(cache)
    assert debian_qemu(cache, say=pytest.fail) == first == cached_qemu(cache)
    assert len(calls()) == 1
    [entry] = cache.entries()
    assert entry.manifest.note["version"] == VERSION
    assert entry.manifest.note["suite"] == "trixie"
    (first.folder / "lib" / "libz.so.1").unlink()
    assert cached_qemu(cache) is None
    assert debian_qemu(cache) == first
    assert len(calls()) == 2


def test_it_is_started_by_its_own_loader_with_its_own_libraries_and_firmware(
    mirror: Callable[..., Callable[..., Any]], cache: Cache
) -> None:
    mirror(packages())
    folder = debian_qemu(cache).folder
    words = [*debian_qemu(cache).command, "-S"]
    assert words[0] == str(folder / "lib/ld-linux-x86-64.so.2")
    assert words[words.index("--argv0") + 1] == PROGRAM
    assert words[words.index("--library-path") + 1] == str(folder / "lib")
    assert words[words.index("-L") + 1] == str(folder / "firmware")
    assert words[words.index("-name") + 1] == f"process={PROGRAM}"
    # The loader's own words come before the program, QEMU's after it.
    portable_program = words.index(str(folder / "bin" / PROGRAM))
    assert words.index("--library-path") < portable_program < words.index("-name")


def test_it_moves_with_the_cache(
    mirror: Callable[..., Callable[..., Any]], cache: Cache, tmp_path: Path
) -> None:
    mirror(packages())
    debian_qemu(cache)
    cache.root.rename(tmp_path / "elsewhere")
    found = cached_qemu(Cache(tmp_path / "elsewhere"))
    assert not any(str(tmp_path / "cache") in word for word in not_none(found).command)
    told = subprocess.run(
        [*not_none(found).command, "--version"], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == ANSWER


@pytest.mark.parametrize("name", ["bios-256k.bin", "linuxboot_dma.bin", PROGRAM])
def test_packages_without_a_part_are_refused_by_its_name(
    mirror: Callable[..., Callable[..., Any]], cache: Cache, name: str
) -> None:
    files = {
        path: content
        for path, content in packages().items()
        if path.rpartition("/")[2] != name or "/doc/" in path
    }
    mirror(files)
    with pytest.raises(ImageError, match=f"brought no {name}"):
        debian_qemu(cache)
    assert cache.entries() == []


@pytest.mark.parametrize(
    ("loader", "said"),
    [
        (LOADER.replace("$here/libz.so.1 (", "/usr/lib/libz.so.1 ("), "needs libz.so.1, which"),
        (LOADER.replace("$here/libz.so.1 (0x00007f0000001000)", "not found"), "needs libz.so.1"),
        ("#!/bin/sh\necho no ELF here >&2; exit 127\n", "no ELF here"),
        (LOADER.replace("emulator version", "is of version"), "does not say its version"),
    ],
    ids=["the host's library", "no library", "loader fails", "no version"],
)
def test_what_would_not_run_never_gets_into_the_cache(
    mirror: Callable[..., Callable[..., Any]], cache: Cache, loader: str, said: str
) -> None:
    mirror(packages(**{"ld-linux-x86-64.so.2": loader}))
    with pytest.raises(ImageError, match=said):
        debian_qemu(cache)
    assert cache.entries() == []


def test_another_kind_of_machine_is_told_so_and_nothing_is_fetched(
    mirror: Callable[..., Callable[..., Any]], cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = mirror(packages())
    monkeypatch.setattr("os.uname", lambda: machine("aarch64"))
    with pytest.raises(MissingError, match="aarch64") as caught:
        debian_qemu(cache)
    assert "SWARM_CHAOS_QEMU" in not_none(caught.value.hint)
    assert not qemu_at_hand(cache)
    assert calls() == []


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\n", "7.2.22 Debian 1:7.2+dfsg-7"),
        ("QEMU emulator version 10.0.13\nCopyright", "10.0.13"),
    ],
)
def test_a_version_carries_the_packages_revision(text: str, version: str) -> None:
    assert parse_version(text) == version
    with pytest.raises(ImageError, match="does not say its version"):
        parse_version("GNU bash, version 5.2.15")


def own(folder: Path, answer: str, name: str = "my-qemu") -> Path:
    folder.mkdir(exist_ok=True)
    portable_program = folder / name
    portable_program.write_text(f'#!/bin/sh\necho "{answer}"\n')
    portable_program.chmod(0o755)
    return portable_program


@pytest.mark.parametrize("by", ["path", "name", "relative path"])
def test_a_qemu_of_ones_own_replaces_the_fetched_one(
    mirror: Callable[..., Callable[..., Any]],
    cache: Cache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    calls = mirror(packages())
    portable_program = own(tmp_path / "bin", "QEMU emulator version 9.1.0")
    monkeypatch.chdir(tmp_path)
    named = {"path": str(portable_program), "name": "my-qemu", "relative path": "bin/my-qemu"}[by]
    monkeypatch.setenv("SWARM_CHAOS_QEMU", named)
    found = provide_qemu(cache)
    assert (found.version, found.command) == ("9.1.0", (str(portable_program),))
    assert qemu_at_hand(cache)
    assert calls() == []


@pytest.mark.parametrize("named", ["/no/such/qemu", "no-such-qemu", "/etc/passwd", "/tmp"])
def test_a_name_of_nothing_is_the_users_mistake(
    mirror: Callable[..., Callable[..., Any]],
    cache: Cache,
    monkeypatch: pytest.MonkeyPatch,
    named: str,
) -> None:
    calls = mirror(packages())
    monkeypatch.setenv("SWARM_CHAOS_QEMU", named)
    with pytest.raises(UsageError, match=r"SWARM_CHAOS_QEMU is .*no such program") as caught:
        provide_qemu(cache)
    assert named in caught.value.what
    assert caught.value.exit_code == 64
    assert calls() == []


def test_a_program_that_is_no_qemu_is_the_users_mistake_too(
    mirror: Callable[..., Callable[..., Any]],
    cache: Cache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mirror(packages())
    monkeypatch.setenv("SWARM_CHAOS_QEMU", str(own(tmp_path / "bin", "hello", "no-qemu")))
    with pytest.raises(UsageError, match=r"is not a QEMU.*'hello'"):
        provide_qemu(cache)


def test_without_the_variable_debians_is_taken(
    mirror: Callable[..., Callable[..., Any]], cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror(packages())
    monkeypatch.setenv("SWARM_CHAOS_QEMU", "")
    assert own_qemu() is None
    assert provide_qemu(cache).command == debian_qemu(cache).command


def test_looking_whether_it_can_be_had_fetches_nothing(
    mirror: Callable[..., Callable[..., Any]], cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = mirror(packages())
    assert qemu_at_hand(cache)
    debian_qemu(cache)
    before = calls()
    monkeypatch.setenv("PATH", str(Path("/nowhere")))
    assert qemu_at_hand(cache)
    assert not qemu_at_hand(Cache(cache.root / "another"))
    assert calls() == before
