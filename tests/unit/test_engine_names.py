"""What the name of an engine means."""

from __future__ import annotations

from pathlib import Path

import pytest
from optionals import not_none

from harness.engine import KNOWN, resolve
from harness.errors import UsageError


def test_a_version_insists_and_an_alias_takes_what_is_there() -> None:
    assert (resolve("26.1.5").suite, resolve("26.1.5").expected) == ("trixie", "26.1.5")
    assert (resolve("stable").suite, resolve("stable").expected) == ("trixie", None)
    assert resolve("oldest").suite == "bullseye"
    assert resolve("newest").suite == "sid"


def test_every_known_engine_and_alias_resolves_to_its_own_suite() -> None:
    for known in KNOWN:
        for name in (known.version, f"v{known.version}", *known.aliases):
            assert resolve(name).suite == known.suite


def test_a_folder_is_meant_by_its_absolute_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve("dir:bin").folder == tmp_path / "bin"
    assert resolve("dir:~/x").folder == Path.home() / "x"
    assert resolve("dir:bin").suite is None


@pytest.mark.parametrize(
    ("name", "near"),
    [("stabel", "stable"), ("oldset", "oldest"), ("newst", "newest")],
)
def test_an_unknown_name_says_what_is_near_and_what_is_known(name: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(name)
    assert name in caught.value.what
    assert near in not_none(caught.value.hint).partition("known are")[0]
    assert all(known.version in not_none(caught.value.hint) for known in KNOWN)


@pytest.mark.parametrize(
    ("name", "archive", "expected"),
    [
        ("27.3.1", "27.3.1", "27.3.1"),
        ("v27.3.1", "27.3.1", "27.3.1"),
        ("17.05.0-ce", "17.05.0", "17.05.0"),
        ("28.0.0-rc.1", "28.0.0-rc.1", "28.0.0-rc.1"),
        ("archive:26.1.5", "26.1.5", "26.1.5"),
        ("26.1", "26.1", None),
        ("27.*", "27.*", None),
        ("27", "27", None),
    ],
)
def test_a_release_that_debian_does_not_serve_is_an_archive(
    name: str, archive: str, expected: str | None
) -> None:
    spec = resolve(name)
    assert (spec.suite, spec.archive, spec.expected) == (None, archive, expected)


def test_a_release_before_the_archives_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'1\.13\.1' is older than 17\.03\.0"):
        resolve("1.13.1")


@pytest.mark.parametrize("name", ["", "dir:", "docker", "../../etc", "archive:", "archive:stable"])
def test_a_name_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        resolve(name)


def test_a_component_may_be_of_another_engine() -> None:
    spec = resolve("28.5.2+runc=20.10.24+containerd=27.3.1")
    assert (spec.suite, spec.name) == ("sid", "28.5.2+runc=20.10.24+containerd=27.3.1")
    assert [(part, other.name) for part, other in spec.parts] == [
        ("containerd", "27.3.1"),
        ("runc", "20.10.24"),
    ]
    assert not resolve("20.10.24+dfsg1-1+deb12u1").parts, "Debian's own way to write a version"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("28.5.2+kernel=26.1.5", "there is no component kernel"),
        ("28.5.2+runc=stabel", "unknown engine 'stabel'"),
        ("image:docker:27-dind+runc=26.1.5", "an image is taken as it is"),
    ],
)
def test_a_mix_that_cannot_be_says_why(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve(name)
