"""``.ci/setup`` on machines made of stubs: what it installs, as whom, and how it gives up."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from optionals import not_none

REPOSITORY = Path(__file__).parents[2]
TOOLS = [
    "bash",
    "cat",
    "comm",
    "cp",
    "cut",
    "dirname",
    "env",
    "flock",
    "grep",
    "head",
    "mkdir",
    "mktemp",
    "rm",
    "sed",
    "sha256sum",
    "sort",
    "tail",
    "tr",
]

PYTHON = """#!/bin/bash
# Stands in for an interpreter of version $VERSION.
case "$*" in
  *'"%d.%d"'*) echo "$VERSION" ;;
  *'version_info < (3, 11)'*) [ "${VERSION#3.}" -ge 11 ] ;;
  *'import ensurepip'*) [ -z "$NO_VENV" ] ;;
  -V) echo "Python $VERSION.0" ;;
  '-m venv .venv') mkdir -p .venv/bin; cp "$0" .venv/bin/python; echo venv >>"$CALLS" ;;
  '-m pip install'*) echo "pip $*" >>"$CALLS"; [ -z "$NO_INDEX" ] || { echo "no index"; exit 1; } ;;
esac
"""


class Made:
    """A project folder and a PATH with nothing on it but what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.bin = folder / "bin"
        self.calls_file = folder / "calls"
        self.installed = folder / "installed"
        self.bin.mkdir()
        (self.project / ".ci").mkdir(parents=True)
        for name in (".ci/setup", ".ci/apt-packages.txt", "pyproject.toml", "constraints.txt"):
            shutil.copy(REPOSITORY / name, self.project / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(not_none(shutil.which(tool)))
        self.stub("id", "echo 0")
        self.stub("dpkg-query", f'sed "s/$/ installed/" {self.installed}')
        self.stub("apt-get", 'echo "apt-get $*" >>"$CALLS"')
        (self.bin / "python3").write_text(PYTHON)
        (self.bin / "python3").chmod(0o755)
        self.has_all_but()

    def stub(self, name: str, body: str) -> None:
        (self.bin / name).write_text(f"#!/bin/bash\n{body}\n")
        (self.bin / name).chmod(0o755)

    def has_all_but(self, *missing: str) -> None:
        lines = (REPOSITORY / ".ci/apt-packages.txt").read_text().splitlines()
        names = {line.split("#")[0].strip() for line in lines} - {""}
        assert set(missing) <= names
        self.installed.write_text("".join(f"{name}\n" for name in sorted(names - set(missing))))

    def run(self, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": str(self.bin), "CALLS": str(self.calls_file), "VERSION": "3.12"}
        return subprocess.run(
            ["bash", ".ci/setup"],
            cwd=self.project,
            env=env | {"TMPDIR": os.environ.get("TMPDIR", "/tmp")} | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def made(tmp_path: Path) -> Any:
    return Made(tmp_path)


def test_a_machine_that_has_all_gets_an_environment_and_apt_is_not_called(made: Any) -> None:
    ran = made.run()
    assert ran.returncode == 0, ran.stderr
    assert [call.split()[0] for call in made.calls] == ["venv", "pip"]
    assert "-c constraints.txt" in made.calls[1]
    assert "--only-binary=:all:" in made.calls[1]


def test_the_second_time_nothing_is_done_nor_said(made: Any) -> None:
    made.run()
    before = made.calls
    again = made.run()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert made.calls == before


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_other_pins_make_the_environment_anew_and_a_newer_time_stamp_does_not(
    made: Any, name: str
) -> None:
    made.run()
    (made.project / name).touch()
    made.run()
    assert len(made.calls) == 2
    with (made.project / name).open("a") as file:
        file.write("# changed\n")
    assert made.run().returncode == 0
    assert [call.split()[0] for call in made.calls[2:]] == ["pip"]


def test_root_installs_what_is_missing_and_nothing_else(made: Any) -> None:
    made.has_all_but("nftables", "mmdebstrap")
    assert made.run().returncode == 0
    [call] = [call for call in made.calls if call.startswith("apt-get")]
    assert call.endswith("install -y --no-install-recommends mmdebstrap nftables")


def test_old_package_lists_are_updated_and_the_install_tried_again(made: Any) -> None:
    made.has_all_but("nftables")
    # Knows the package only once `update` was called.
    made.stub(
        "apt-get", 'echo "$*" >>"$CALLS"; case "$*" in *install*) grep -q update "$CALLS" ;; esac'
    )
    assert made.run().returncode == 0
    verbs = [word for call in made.calls for word in call.split() if word in ("install", "update")]
    assert verbs[:3] == ["install", "update", "install"]


def test_apts_last_words_are_shown_and_nothing_is_half_made(made: Any) -> None:
    made.has_all_but("nftables")
    made.stub("apt-get", 'echo "E: the disk is full"; exit 100')
    ran = made.run()
    assert ran.returncode == 2
    assert "E: the disk is full" in ran.stderr
    assert not (made.project / ".venv").exists()


def test_an_ordinary_user_without_sudo_is_told_the_line_to_type(made: Any) -> None:
    made.has_all_but("nftables", "mmdebstrap")
    made.stub("id", "echo 1000")
    ran = made.run()
    assert ran.returncode == 2
    line = "apt-get update && apt-get install --no-install-recommends mmdebstrap nftables\n"
    assert line in ran.stderr
    assert made.calls == []
    assert not (made.project / ".venv").exists()


def test_an_ordinary_user_whose_sudo_asks_nothing_installs_through_it(made: Any) -> None:
    made.has_all_but("nftables")
    made.stub("id", "echo 1000")
    made.stub("sudo", 'echo "sudo $*" >>"$CALLS"')
    assert made.run().returncode == 0
    assert any(c.startswith("sudo -n env") and c.endswith("nftables") for c in made.calls)


def test_without_a_terminal_sudo_is_not_left_asking_for_a_password(made: Any) -> None:
    made.has_all_but("nftables")
    made.stub("id", "echo 1000")
    made.stub("sudo", 'echo "sudo $*" >>"$CALLS"; exit 1')
    ran = made.run()
    assert ran.returncode == 2
    assert "apt-get install" in ran.stderr
    assert made.calls == ["sudo -n true"]


def test_a_user_who_has_all_packages_needs_no_root(made: Any) -> None:
    made.stub("id", "echo 1000")
    assert made.run().returncode == 0


def test_without_apt_it_says_so_and_goes_on(made: Any) -> None:
    (made.bin / "apt-get").unlink()
    ran = made.run()
    assert ran.returncode == 0
    assert "by hand" in ran.stderr


def test_an_old_python_comes_with_what_to_type(made: Any) -> None:
    ran = made.run(VERSION="3.10")
    assert ran.returncode == 2
    assert "Python 3.10" in ran.stderr
    assert "apt-get install python3.11 python3.11-venv" in ran.stderr
    assert not (made.project / ".venv").exists()


def test_a_newer_python_by_another_name_is_found(made: Any) -> None:
    shutil.copy(made.bin / "python3", made.bin / "python3.13")
    made.stub("python3", "case \"$*\" in *'%d.%d'*) echo 3.10 ;; *) exit 1 ;; esac")
    ran = made.run(VERSION="3.13")
    assert ran.returncode == 0, ran.stderr
    assert "python3.13" in ran.stderr


def test_a_python_without_venv_comes_with_its_package(made: Any) -> None:
    ran = made.run(NO_VENV="1")
    assert ran.returncode == 2
    assert "apt-get install python3.12-venv" in ran.stderr


def test_an_index_out_of_reach_leaves_no_finished_environment(made: Any) -> None:
    ran = made.run(NO_INDEX="1")
    assert ran.returncode == 2
    assert "no index" in ran.stderr
    assert not (made.project / ".venv" / ".made-from").exists()
    assert made.run().returncode == 0
