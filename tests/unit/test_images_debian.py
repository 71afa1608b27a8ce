"""mmdebstrap's words, told apart."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from optionals import not_none
from processes import running

from harness.errors import HarnessError, ImageError, MissingError
from harness.images import Cache, DebianRecipe, debian, installed_packages, root_tree
from harness.wait import NotYet, wait_for

RECIPE = DebianRecipe("trixie", ("docker.io",))


@pytest.mark.parametrize(
    ("said", "kind", "what", "hint"),
    [
        (
            "Err:1 http://mirror.example/debian trixie InRelease\n"
            "  Temporary failure resolving 'mirror.example'\nE: run_chroot failed",
            ImageError,
            "cannot be reached for trixie",
            "SWARM_CHAOS_MIRROR",
        ),
        (
            "E: The repository 'http://example.org/debian trixie Release' does not have a Release "
            "file.",
            ImageError,
            "cannot be reached",
            "SWARM_CHAOS_MIRROR",
        ),
        ("E: Unable to locate package docker.iox", ImageError, "docker.iox", "package"),
        (
            "W: GPG error: http://mirror.example/debian sid InRelease: The following signatures "
            "couldn't be verified because the public key is not available: NO_PUBKEY 6ED0E7B8",
            ImageError,
            "cannot be verified",
            "debian-archive-keyring",
        ),
        (
            "cp: error writing '/x': No space left on device\nE: setup failed",
            ImageError,
            "the disk filled up",
            "SWARM_CHAOS_CACHE",
        ),
        ("W: /etc/subuid has no entry for nobody", MissingError, "as this user", "add-subuids"),
        ("E: newuidmap is required", MissingError, "as this user", "uidmap"),
        ("E: something new\nI: bye", ImageError, "something new", None),
        ("", ImageError, "it said nothing", None),
    ],
)
def test_each_cause_has_its_own_sentence(
    said: str, kind: type[ImageError | MissingError], what: str, hint: str | None
) -> None:
    error = debian.explain(said, RECIPE, None, Path("/cache/x"))
    assert isinstance(error, kind)
    assert isinstance(error, HarnessError)
    assert what in error.what
    assert (hint or "") in (error.hint or "")


def fake_mmdebstrap(folder: Path, script: str) -> None:
    folder.mkdir()
    program = folder / "mmdebstrap"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.delenv("SWARM_CHAOS_MIRROR", raising=False)
    return tmp_path / "bin"


EXPIRED = """
case "$*" in
  *Check-Valid-Until*) echo content; exit 0;;
esac
echo half
echo "E: Release file for http://x/sid/InRelease is expired (invalid since 16d)." >&2
exit 1
"""


def test_an_expired_release_is_taken_and_that_is_said_and_recorded(
    path: Path, tmp_path: Path
) -> None:
    fake_mmdebstrap(path, EXPIRED)
    said: list[Any] = []
    build = debian.extracted_tar(DebianRecipe("sid", ("x",)), tmp_path / "tar", say=said.append)
    assert (tmp_path / "tar").read_text() == "content\n"
    assert "past its Valid-Until date" in said[0]
    assert build.note()["expired_release_accepted"] is True


def test_the_mirror_comes_from_the_environment(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_mmdebstrap(path, 'echo "$@"\n')
    plain = debian.extracted_tar(RECIPE, tmp_path / "tar")
    assert (tmp_path / "tar").read_text().split()[-2:] == ["trixie", "-"]
    assert (plain.mirror, plain.expired_release_accepted) == ("mmdebstrap's default", False)
    monkeypatch.setenv("SWARM_CHAOS_MIRROR", "http://mirror.example/debian")
    named = debian.extracted_tar(RECIPE, tmp_path / "tar")
    assert (tmp_path / "tar").read_text().split()[-1] == "http://mirror.example/debian"
    assert named.mirror == "http://mirror.example/debian"


def test_a_failed_build_leaves_nothing_in_the_cache(path: Path, tmp_path: Path) -> None:
    fake_mmdebstrap(path, 'echo half; echo "E: Unable to locate package docker.io" >&2; exit 1\n')
    cache = Cache(tmp_path / "cache")

    def build(work: Path) -> None:
        debian.extracted_tar(RECIPE, work / "t")

    with pytest.raises(ImageError, match=r"docker\.io"):
        cache.build("k", "k", build, {})
    assert [each.name for each in (tmp_path / "cache" / "k").iterdir()] == [".k.lock"]


def test_a_machine_without_mmdebstrap_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="mmdebstrap") as caught:
        debian.extracted_tar(RECIPE, tmp_path / "tar")
    assert not_none(caught.value.hint).startswith("apt-get install")


def test_a_tree_wants_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MissingError, match="root"):
        root_tree(RECIPE, tmp_path / "tree")


def test_installed_packages_are_read_from_dpkgs_status() -> None:
    status = (
        "Package: docker.io\nStatus: install ok installed\nVersion: 26.1.5+dfsg1-9\n"
        "Description: containers\n Version: 1 is not a field\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n"
        "Package: raw\nStatus: install ok unpacked\nVersion: 2:3\n"
    )
    assert installed_packages(status) == {"docker.io": "26.1.5+dfsg1-9", "raw": "2:3"}


KILLED = """
import sys
from pathlib import Path
from harness.images import DebianRecipe, extracted_tar
extracted_tar(DebianRecipe("trixie", ("x",)), Path(sys.argv[1]))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_builder_and_what_it_runs_end_with_us(
    path: Path, tmp_path: Path, number: signal.Signals
) -> None:
    pids = tmp_path / "pids"
    scratch = tmp_path / "scratch"
    fake_mmdebstrap(
        path,
        f"trap 'rm {scratch}; exit 1' TERM\ntouch {scratch}\nsleep 300 &\n"
        f"echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait\n",
    )
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "tar")], stderr=subprocess.DEVNULL
    ) as process:
        wait_for(lambda: pids.exists() or NotYet("no pids"), state="the builder's start", within=20)
        process.send_signal(number)
    started = [int(word) for word in pids.read_text().split()]

    def gone() -> NotYet | bool:
        left = [pid for pid in started if running(pid)]
        return NotYet(f"{left} run") if left else True

    wait_for(gone, state="the end of the builder", within=8)
    assert not scratch.exists()
