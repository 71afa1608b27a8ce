"""Engines as root: real ones of Debian, and folders of binaries placed over a plain root."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli.engines import engines
from harness.engine import KNOWN, cached, engine_at, provide, resolve
from harness.errors import EngineError
from harness.images import Cache

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("name", [known.version for known in KNOWN])
def test_every_known_engine_is_what_its_name_says(name: Any) -> None:
    engine = provide(resolve(name), Cache())
    inside: Any = ["chroot", engine.rootfs, "/usr/bin/env", "-i", f"PATH={engine.path}"]
    said = subprocess.check_output([*inside, engine.dockerd, "--version"], text=True)
    assert f"Docker version {name}" in said
    for tool in ("docker", "containerd", "runc", "iptables", "ip", "tc", "ipvsadm", "conntrack",
                 "nft", "nsenter", "sysctl", "modprobe", "mount", "docker-proxy"):  # fmt: skip
        subprocess.run([*inside, "sh", "-c", f"command -v {tool}"], check=True, stdout=-3)
    assert engine_at(engine.rootfs).facts().version == name


def fake_binaries(folder: Path, version: str) -> Path:
    folder.mkdir()
    for name in ("dockerd", "docker", "docker-containerd", "docker-runc"):
        (folder / name).write_text(f"#!/bin/sh\necho 'Docker version {version}, build 1'\n")
        (folder / name).chmod(0o755)
    return folder


def test_a_folder_goes_over_a_plain_root_ahead_in_the_path(tmp_path: Path) -> None:
    cache = Cache()
    spec = resolve(f"dir:{fake_binaries(tmp_path / 'bin', '17.03.2-ce')}")
    engine = provide(spec, cache)
    try:
        assert (engine.version, engine.cgroups) == ("17.03.2", "v1")
        inside: Any = ["chroot", engine.rootfs, "/usr/bin/env", "-i", f"PATH={engine.path}"]
        found = subprocess.check_output(
            [*inside, "sh", "-c", "command -v dockerd; command -v iptables"]
        )
        assert found.split() == [b"/usr/local/bin/dockerd", b"/usr/sbin/iptables"]
        listed = CliRunner().invoke(engines, ["--json"]).stdout
        assert spec.name in [row["name"] for row in json.loads(listed)]
    finally:
        cache.remove("engine-tree", engine.rootfs.parent.name)


#: What Docker packs, from where Debian has it, under its name of today and of 2017.
BINARIES = {
    "usr/sbin/dockerd": ("dockerd", "dockerd"),
    "usr/bin/docker": ("docker", "docker"),
    "usr/bin/containerd": ("containerd", "docker-containerd"),
    "usr/bin/containerd-shim-runc-v2": ("containerd-shim-runc-v2", "docker-containerd-shim"),
    "usr/sbin/runc": ("runc", "docker-runc"),
}


@pytest.mark.parametrize("layout", ["today", "2017"])
def test_an_archive_of_real_binaries_becomes_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    cache = Cache()
    before = {entry.path for entry in cache.entries()}
    release = "26.1.5"
    debian = provide(resolve(release), cache).rootfs
    with tarfile.open(tmp_path / f"docker-{release}.tgz", "w:gz", compresslevel=1) as archive:
        for path, names in BINARIES.items():
            archive.add((debian / path).resolve(), f"docker/{names[layout == '2017']}")
    monkeypatch.setenv("SWARM_CHAOS_ARCHIVES", str(tmp_path))
    # The first-seen record is of the user's cache: this test's archive must not enter it.
    monkeypatch.setattr("harness.engine.archives.SEEN_FILE", f"seen-{layout}.json")
    try:
        engine = provide(resolve(f"archive:{release}"), cache)
        assert (engine.version, engine.source) == (release, f"archive:{release}")
        inside: Any = ["chroot", engine.rootfs, "/usr/bin/env", "-i", f"PATH={engine.path}"]
        said = subprocess.check_output([*inside, engine.dockerd, "--version"], text=True)
        assert f"Docker version {release}" in said
    finally:
        for entry in cache.entries():
            if entry.path not in before and "archive" in f"{entry.manifest.kind} {entry.path.name}":
                cache.remove(entry.manifest.kind, entry.manifest.key)
        (cache.root / f"seen-{layout}.json").unlink(missing_ok=True)


def test_a_binary_of_another_machine_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    folder = fake_binaries(tmp_path / "bin", "28.0.0")
    (folder / "dockerd").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(11) + b"\xb7\0" + bytes(44))
    cache, spec = Cache(), resolve(f"dir:{folder}")
    with pytest.raises(EngineError, match="does not run here") as caught:
        provide(spec, cache)
    assert "another machine" in caught.value.what
    assert cached(spec, cache) == []  # other tests may be building engines of theirs


def test_a_component_of_another_engine_is_the_one_that_runs() -> None:
    cache = Cache()
    engine = provide(resolve("26.1.5+containerd=20.10.24"), cache)
    other = provide(resolve("20.10.24"), cache)
    inside: Any = ["chroot", engine.rootfs, "/usr/bin/env", "-i", f"PATH={engine.path}"]
    said = subprocess.check_output([*inside, "containerd", "--version"], text=True)
    assert other.containerd in said
    assert engine.containerd == other.containerd
    assert engine.version == "26.1.5+containerd-20.10.24"
    assert engine.digest != provide(resolve("26.1.5"), cache).digest
    assert engine_at(engine.rootfs).facts() == engine.facts()


def test_a_component_that_cannot_run_there_says_what_it_lacks() -> None:
    """A program that is linked to a C library newer than the other engine's root has."""
    with pytest.raises(EngineError, match=r"does not run in that root: .*GLIBC"):
        provide(resolve("20.10.5+containerd=28.5.2"), Cache())
