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
    [("stabel", "stable"), ("26.1.4", "26.1.5"), ("28.5", "28.5.2"), ("20.10.25", "20.10.24")],
)
def test_an_unknown_name_says_what_is_near_and_what_is_known(name: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(name)
    assert name in caught.value.what
    assert near in not_none(caught.value.hint).partition("known are")[0]
    assert all(known.version in not_none(caught.value.hint) for known in KNOWN)


@pytest.mark.parametrize("name", ["", "dir:", "docker", "../../etc"])
def test_a_name_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        resolve(name)
