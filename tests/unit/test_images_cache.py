"""The cache: whole entries or none, whatever happens to the builder."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optionals import not_none

from harness.errors import ImageError, UsageError
from harness.images import Cache
from harness.images.cache import remove_tree, tree_facts


@pytest.fixture
def said() -> list[Any]:
    return []


@pytest.fixture
def cache(tmp_path: Path, said: list[Any]) -> Cache:
    return Cache(tmp_path / "cache", say=said.append)


def write(text: str) -> Callable[..., None]:
    def recipe(folder: Path) -> None:
        (folder / "file").write_text(text)
        (folder / "tree").mkdir()
        (folder / "tree" / "leaf").write_text(text * 2)

    return recipe


def never(folder: Any) -> None:
    raise AssertionError("built although it is cached")


def visible(cache: Cache) -> list[str]:
    return sorted(
        str(path.relative_to(cache.root))
        for path in cache.root.glob("*/*")
        if not path.name.endswith(".lock")
    )


def test_a_second_build_is_the_first_ones_result(cache: Cache) -> None:
    first = cache.build("kind", "key", write("a"), {"from": "here"})
    assert cache.build("kind", "key", never, {}) == first
    assert (first / "file").read_text() == "a"
    (entry,) = cache.entries()
    assert entry.manifest.note == {"from": "here"}
    assert entry.manifest.size == 3
    assert [part.name for part in entry.manifest.parts] == ["file", "tree"]


def test_a_note_may_be_known_only_after_the_build(cache: Cache) -> None:
    cache.build("kind", "key", write("abc"), lambda work: {"text": (work / "file").read_text()})
    assert not_none(cache.find("kind", "key")).manifest.note == {"text": "abc"}


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_a_build_that_fails_leaves_nothing(
    cache: Cache, error: RuntimeError | KeyboardInterrupt | SystemExit
) -> None:
    def recipe(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise error

    with pytest.raises(type(error)):
        cache.build("kind", "key", recipe, {})
    assert visible(cache) == []
    assert cache.entries() == []


def test_a_full_disk_is_told_and_leaves_nothing(cache: Cache) -> None:
    def recipe(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ImageError, match="the disk filled up") as caught:
        cache.build("kind", "key", recipe, {})
    assert "SWARM_CHAOS_CACHE" in not_none(caught.value.hint)
    assert visible(cache) == []


def test_a_disk_known_to_be_too_small_is_told_before_the_build(cache: Cache) -> None:
    with pytest.raises(ImageError, match=r"\d [KMG]iB are free"):
        cache.build("kind", "key", never, {}, need=1 << 60)
    assert visible(cache) == []


BUILDER = """
import sys, time
from pathlib import Path
from harness.images import Cache
def recipe(folder):
    with (Path(sys.argv[1]) / "built").open("a") as file:
        file.write("x")
    (folder / "file").write_text("a")
    print("building", flush=True)
    exec(sys.argv[2])
print(Cache(Path(sys.argv[1])).build("kind", "key", recipe, {}))
"""


def builder(cache: Cache, then: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(cache.root), then],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_build_does_not_count_and_is_swept(cache: Cache) -> None:
    cache.root.mkdir()
    with builder(cache, "time.sleep(60)") as process:
        assert not_none(process.stdout).readline() == "building\n"
        process.send_signal(signal.SIGKILL)
    assert len(visible(cache)) == 1  # its half-made folder
    assert cache.find("kind", "key") is None
    assert cache.entries() == []
    cache.build("kind", "key", write("b"), {})
    assert visible(cache) == ["kind/key"]


def test_two_at_once_build_once(cache: Cache) -> None:
    cache.root.mkdir()
    processes = [builder(cache, "time.sleep(0.5)") for _ in range(3)]
    last = {process.communicate(timeout=30)[0].splitlines()[-1] for process in processes}
    assert last == {str(cache.root / "kind" / "key")}
    assert (cache.root / "built").read_text() == "x"


def test_waiting_for_another_build_is_said(cache: Cache) -> None:
    """The other one waits for a word that comes when it was said, so it cannot be done before."""
    said = []

    def say(line: str) -> None:
        said.append(line)
        not_none(process.stdin).close()

    cache.root.mkdir()
    with builder(cache, "sys.stdin.read()") as process:
        not_none(process.stdout).readline()
        Cache(cache.root, say=say).build("kind", "key", never, {})
    assert said == ["waiting: another run is building kind/key"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: (path / "file").write_text("longer"),
        lambda path: (path / "file").unlink(),
        lambda path: (path / "tree" / "leaf").unlink(),
        lambda path: (path / "tree" / "more").write_text(""),
        lambda path: remove_tree(path / "tree"),
    ],
)
def test_a_damaged_entry_is_built_again_and_that_is_said(
    cache: Cache, said: list[Any], harm: Callable[..., Any]
) -> None:
    path = cache.build("kind", "key", write("a"), {})
    harm(path)
    assert not_none(cache.find("kind", "key")).damage(contents=True)
    assert cache.build("kind", "key", write("b"), {}) == path
    assert (path / "file").read_text() == "b"
    assert "damaged" in said[0]
    assert not_none(cache.find("kind", "key")).damage(contents=True) == []


@pytest.mark.parametrize("name", ["file", "tree/leaf"])
def test_changed_bytes_of_the_same_size_are_found_by_reading_them(cache: Cache, name: str) -> None:
    path = cache.build("kind", "key", write("a"), {})
    (path / name).write_text("z" * (path / name).stat().st_size)
    assert not_none(cache.find("kind", "key")).damage(contents=False) == []
    [damage] = not_none(cache.find("kind", "key")).damage(contents=True)
    assert "other contents" in damage


def test_an_entry_with_an_unreadable_manifest_is_none(cache: Cache) -> None:
    path = cache.build("kind", "key", write("a"), {})
    (path / "manifest.json").write_text("{")
    assert cache.entries() == []
    cache.build("kind", "key", write("b"), {})
    assert (path / "file").read_text() == "b"


def test_remove_takes_the_entry_and_says_whether_there_was_one(cache: Cache) -> None:
    cache.build("kind", "key", write("a"), {})
    assert cache.remove("kind", "key") is True
    assert cache.remove("kind", "key") is False
    assert cache.remove("nokind", "key") is False
    assert visible(cache) == []


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b"])
def test_names_that_would_leave_the_cache_are_refused(cache: Cache, name: str) -> None:
    with pytest.raises(UsageError):
        cache.build("kind", name, never, {})


def test_the_environment_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_CHAOS_CACHE", str(tmp_path / "elsewhere"))
    assert Cache().root == tmp_path / "elsewhere"
    monkeypatch.delenv("SWARM_CHAOS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Cache().root == tmp_path / "swarm-chaos"


def test_a_cache_that_cannot_be_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match="is not a folder"):
        Cache(tmp_path / "file").build("kind", "key", never, {})


def test_a_trees_digest_sees_names_modes_links_and_contents_but_no_times(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_text("a")
    (tree / "link").symlink_to("file")
    seen = [tree_facts(tree)]
    os.utime(tree / "file", (1, 1))
    assert tree_facts(tree) == seen[0]
    (tree / "file").chmod(0o600)
    seen.append(tree_facts(tree))
    (tree / "link").unlink()
    (tree / "link").symlink_to("other")
    seen.append(tree_facts(tree))
    (tree / "file").write_text("b")
    seen.append(tree_facts(tree))
    (tree / "file").rename(tree / "name")
    seen.append(tree_facts(tree))
    assert len({digest for _, _, digest in seen}) == len(seen)


def test_removing_a_tree_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "file").write_text("a")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "keep")
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert (tmp_path / "keep" / "file").read_text() == "a"


def test_a_cached_entry_is_found_quickly(cache: Cache) -> None:
    cache.build("kind", "key", write("a"), {})

    def took() -> float:
        began = time.monotonic()
        cache.build("kind", "key", never, {})
        return time.monotonic() - began

    assert min(took() for _ in range(5)) < 0.5, "at best: a busy machine may stop one of them"
