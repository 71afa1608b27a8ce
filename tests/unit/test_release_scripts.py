"""The scripts of a release: what they refuse, and what goes into the image."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from harness.errors import ImageError, UsageError

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def image() -> ModuleType:
    """The script `.ci/image.py` as a module."""
    spec = importlib.util.spec_from_file_location("image", REPOSITORY / ".ci" / "image.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def checkout(folder: Path, changelog: str, version: str = "1.2.0") -> Path:
    """A repository with the release's script, and all that it reads before it builds."""
    for name in (".ci/release", "CHANGELOG.md", "pyproject.toml", "harness/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / ".ci" / "release", folder / ".ci" / "release")
    (folder / "CHANGELOG.md").write_text(changelog)
    (folder / "pyproject.toml").write_text('version = "1.2.0"\n')
    (folder / "harness" / "__init__.py").write_text(f'__version__ = "{version}"\n')
    (folder / ".gitignore").write_text(".venv\n")
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *words], cwd=folder, check=True)
    return folder


def released(folder: Path, *args: str) -> tuple[int, str]:
    done = subprocess.run(
        [folder / ".ci" / "release", *args], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_a_release_is_made_of_what_is_committed(tmp_path: Path) -> None:
    folder = checkout(tmp_path, "## 1.2.0\n")
    (folder / "CHANGELOG.md").write_text("changed\n")
    code, said = released(folder)
    assert code == 2
    assert "changes that no commit has" in said
    assert "CHANGELOG.md" in said


@pytest.mark.parametrize(
    ("changelog", "version", "said"),
    [
        ("## Unreleased\n", "1.2.0", "CHANGELOG.md has no section for 1.2.0"),
        ("## 1.2.0\n", "1.3.0", "pyproject.toml another version"),
    ],
)
def test_a_version_is_the_same_everywhere(
    tmp_path: Path, changelog: str, version: str, said: str
) -> None:
    code, out = released(checkout(tmp_path, changelog, version))
    assert code == 2
    assert said in out


def test_a_wrong_option_ends_with_the_usage(tmp_path: Path) -> None:
    code, said = released(checkout(tmp_path, ""), "--upload")
    assert code == 64
    assert ".ci/release --dirty" in said


def test_the_image_has_what_the_harness_needs_of_debian(image: ModuleType) -> None:
    packages = image.debian_packages()
    assert {"mmdebstrap", "e2fsprogs", "nftables"} <= set(packages)
    assert not {"cpio", "python3-venv", ""} & set(packages)


def test_a_wheel_that_is_not_there_and_a_program_that_fails_are_sentences(
    image: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="there is no wheel"):
        image.build(tmp_path / "a.whl", "trixie", tmp_path, tmp_path)
    with pytest.raises(ImageError, match=r"sh -c .* ended with 3: no$"):
        image.run("sh", "-c", "echo no; exit 3")
