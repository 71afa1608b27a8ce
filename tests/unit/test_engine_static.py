"""Engines from a folder of binaries, without root: here the binaries are scripts."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optionals import not_none
from plain_roots import fake_root_tar

from harness.engine import cached, provide, provide_facts, provide_tar, resolve
from harness.errors import EngineError, MissingError
from harness.images import Cache, DebianBuild, DebianRecipe

TODAY = ("dockerd", "docker", "containerd", "runc")
OF_2017 = ("dockerd", "docker", "docker-containerd", "docker-runc")


def binaries(folder: Path, version: str, names: tuple[str, str, str, str] = TODAY) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        text = "containerd v1.7.1 abc" if "containerd" in name else f"Docker version {version}"
        (folder / name).write_text(f"#!/bin/sh\necho '{text}, build 1'\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setattr("harness.engine.roots.root_tar", fake_root_tar)
    monkeypatch.setattr("harness.engine.roots.os.geteuid", lambda: 1000)
    return Cache(tmp_path / "cache")


@pytest.mark.parametrize(
    ("version", "names", "release", "cgroups"),
    [
        ("28.5.2", TODAY, "28.5.2", "v2"),
        ("20.10.0", TODAY, "20.10.0", "v2"),
        ("19.03.15", TODAY, "19.03.15", "v1"),
        ("17.03.2-ce", OF_2017, "17.03.2", "v1"),
    ],
)
def test_the_version_is_read_back_and_decides_on_cgroups(
    cache: Cache,
    tmp_path: Path,
    version: str,
    names: tuple[str, str, str, str],
    release: str,
    cgroups: str,
) -> None:
    spec = resolve(f"dir:{binaries(tmp_path / 'bin', version, names)}")
    facts = provide_facts(spec, cache)
    assert (facts.version, facts.cgroups, facts.cli) == (release, cgroups, release)
    assert facts.containerd == "1.7.1"
    assert facts.dockerd == "/usr/local/bin/dockerd"
    assert facts.source == f"dir:{tmp_path / 'bin'}"


def test_the_tar_holds_the_binaries_and_says_what_it_is(cache: Cache, tmp_path: Path) -> None:
    spec = resolve(f"dir:{binaries(tmp_path / 'bin', '28.5.2')}")
    with tarfile.open(provide_tar(spec, cache)) as tar:
        members = {member.name: member for member in tar}
        assert "./usr/share/swarm-chaos/engine.json" in members
        for name in TODAY:
            member = members[f"./usr/local/bin/{name}"]
            assert (member.mode, member.uid) == (0o755, 0)
            assert (
                not_none(tar.extractfile(member)).read() == (tmp_path / "bin" / name).read_bytes()
            )


def test_other_binaries_are_another_engine(cache: Cache, tmp_path: Path) -> None:
    spec = resolve(f"dir:{binaries(tmp_path / 'bin', '28.5.2')}")
    first = provide_facts(spec, cache)
    assert len(cached(spec, cache)) == 1
    (tmp_path / "bin" / "runc").write_text("#!/bin/sh\n")
    assert cached(spec, cache) == []
    assert provide_facts(spec, cache).digest != first.digest


def test_the_folder_an_archive_unpacks_to_is_found_within(cache: Cache, tmp_path: Path) -> None:
    binaries(tmp_path / "unpacked" / "docker", "28.5.2")
    assert provide_facts(resolve(f"dir:{tmp_path / 'unpacked'}"), cache).version == "28.5.2"


@pytest.mark.parametrize("name", ["dockerd", "containerd", "runc"])
def test_a_missing_binary_is_named(cache: Cache, tmp_path: Path, name: str) -> None:
    (binaries(tmp_path / "bin", "28.5.2") / name).unlink()
    with pytest.raises(EngineError, match=f"has no {name}"):
        provide_tar(resolve(f"dir:{tmp_path / 'bin'}"), cache)


def test_a_folder_that_is_not_there_is_named(cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be read"):
        provide_tar(resolve(f"dir:{tmp_path / 'none'}"), cache)


def test_a_binary_that_is_not_executable_is_named(cache: Cache, tmp_path: Path) -> None:
    (binaries(tmp_path / "bin", "28.5.2") / "dockerd").chmod(0o644)
    with pytest.raises(EngineError, match="not executable"):
        provide_tar(resolve(f"dir:{tmp_path / 'bin'}"), cache)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"\x7fELF\x02\x01\x01" + b"\0" * 11 + b"\xb7\0" + b"\0" * 40,
            "another machine (ELF machine 183",
        ),
        (b"#!/bin/sh\necho no GLIBC_9.9 here >&2; exit 1\n", "no GLIBC_9.9 here"),
        (b"#!/bin/sh\nexit 3\n", "it ended with 3"),
    ],
)
def test_a_dockerd_that_does_not_run_here_is_quoted(
    cache: Cache, tmp_path: Path, content: bytes, words: str
) -> None:
    (binaries(tmp_path / "bin", "28.5.2") / "dockerd").write_bytes(content)
    with pytest.raises(EngineError, match="does not run here") as caught:
        provide_tar(resolve(f"dir:{tmp_path / 'bin'}"), cache)
    assert words in caught.value.what
    assert cache.entries() == []


@pytest.mark.parametrize("name", ["containerd", "runc"])
def test_a_needed_binary_that_does_not_run_is_told_before_a_container_fails(
    cache: Cache, tmp_path: Path, name: str
) -> None:
    (binaries(tmp_path / "bin", "28.5.2") / name).write_text("#!/bin/sh\necho no lib >&2; exit 1\n")
    with pytest.raises(EngineError, match=f"{name} does not run here: no lib"):
        provide_tar(resolve(f"dir:{tmp_path / 'bin'}"), cache)


def test_a_dockerd_without_a_version_is_refused(cache: Cache, tmp_path: Path) -> None:
    spec = resolve(f"dir:{binaries(tmp_path / 'bin', 'dev')}")
    with pytest.raises(EngineError, match="does not say its version"):
        provide_tar(spec, cache)
    assert [entry.manifest.kind for entry in cache.entries()] == ["base-tar"]


def served(version: str) -> Callable[..., DebianBuild]:
    def root_tar(
        recipe: DebianRecipe, target: Path, *, say: Callable[..., Any] | None = None
    ) -> DebianBuild:
        build = fake_root_tar(recipe, target)
        text = f"Docker version {version}, build 1\ncontainerd c 1.7.24 x\n".encode()
        with tarfile.open(target, "a") as tar:
            member = tarfile.TarInfo("./usr/share/swarm-chaos/versions")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
        return build

    return root_tar


def test_a_suite_that_moved_on_is_not_taken_for_the_version_asked(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.engine.roots.root_tar", served("29.0.1+dfsg1"))
    with pytest.raises(EngineError, match=r"sid now serves 29\.0\.1") as caught:
        provide_tar(resolve("28.5.2"), cache)
    assert "newest" in not_none(caught.value.hint)
    newest = provide_facts(resolve("newest"), cache)
    assert (newest.name, newest.version) == ("newest", "29.0.1")


def test_a_tree_wants_root(cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="root"):
        provide(resolve("stable"), cache)
