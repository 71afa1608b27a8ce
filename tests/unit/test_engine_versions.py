"""Version strings from everywhere name the same releases in the same order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine import release_in, release_key, same_release


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("Docker version 26.1.5+dfsg1, build a72d7cd", "26.1.5"),
        ("Docker version 17.03.2-ce, build f5ec1e2", "17.03.2"),
        ("Docker version 28.0.0-rc.1, build 1", "28.0.0-rc.1"),
        ("17.06.0-ce-rc5", "17.06.0-rc.5"),
        ("v28.5.2", "28.5.2"),
        ("20.10.24+dfsg1-1+deb12u1+b6", "20.10.24"),
        ("5:26.1.5~3-0~debian", "26.1.5"),
        ("containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6+deb13u1", "1.7.24"),
        ("containerd containerd.io v2.1.4 75cb2b7", "2.1.4"),
        ("Docker version dev, build HEAD", None),
        ("", None),
    ],
)
def test_the_release_is_found_in_what_programs_say(text: str, release: str | None) -> None:
    assert release_in(text) == release


numbers = st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
stages = st.one_of(st.none(), st.tuples(st.sampled_from(["beta", "rc"]), st.integers(1, 20)))


def spelled(parts: tuple[int, int, int], stage: tuple[str, int] | None, spelling: str) -> str:
    core = ".".join(str(part) for part in parts)
    if spelling == "2017":
        core = f"{parts[0]}.{parts[1]:02d}.{parts[2]}-ce"
    end = ""
    if stage is not None:
        end = f"-{stage[0]}{stage[1]}" if spelling == "2017" else f"-{stage[0]}.{stage[1]}"
    return {
        "plain": f"{core}{end}",
        "2017": f"{core}{end}",
        "tag": f"v{core}{end}",
        "binary": f"Docker version {core}{end}, build 1234567",
        "debian": f"{core}{end}+dfsg1-9+b9",
    }[spelling]


spellings = st.sampled_from(["plain", "2017", "tag", "binary", "debian"])


@given(numbers, stages, spellings, numbers, stages, spellings)
def test_spelling_does_not_change_the_order(
    one: tuple[int, int, int],
    stage1: tuple[str, int] | None,
    how1: str,
    two: tuple[int, int, int],
    stage2: tuple[str, int] | None,
    how2: str,
) -> None:
    def rank(
        parts: tuple[int, int, int], stage: tuple[str, int] | None
    ) -> tuple[tuple[int, int, int], tuple[int, int]]:
        order = {"beta": 0, "rc": 1}
        return (parts, (order[stage[0]], stage[1]) if stage else (2, 0))

    left, right = spelled(one, stage1, how1), spelled(two, stage2, how2)
    expected = rank(one, stage1) < rank(two, stage2)
    assert (release_key(left) < release_key(right)) == expected
    assert same_release(left, right) == (rank(one, stage1) == rank(two, stage2))


@given(numbers, stages, spellings)
def test_a_release_found_is_found_again(
    parts: tuple[int, int, int], stage: tuple[str, int] | None, how: str
) -> None:
    release = release_in(spelled(parts, stage, how))
    assert release is not None
    assert release_in(release) == release


@given(st.text())
def test_any_text_has_a_release_or_has_none(text: str) -> None:
    release = release_in(text)
    if release is None:
        with pytest.raises(ValueError, match="no version"):
            release_key(text)
    else:
        assert release_key(release) == release_key(text)
