"""dockerd's command line: what each age of engine needs to be told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from stand_ins import UNUSED, stand_in

from harness.lab.dockerd import ALLOW_ALL, LocalDockerd
from harness.lab.janitor import hierarchies


def command_of(version: str, tmp_path: Path) -> list[str]:
    return LocalDockerd(
        node="m1",
        init=1,
        engine=stand_in(SimpleNamespace(version=version)),
        address="198.18.0.101",
        folder=tmp_path,
        groups=UNUSED,
        ends=UNUSED,
        environment={},
    ).command(["--debug"])


@pytest.mark.parametrize(
    ("version", "old"),
    [("17.05.0-ce", True), ("19.03.15", True), ("20.10.5", False), ("28.5.2", False)],
)
def test_old_engines_are_told_more(version: str, old: bool, tmp_path: Path) -> None:
    command = command_of(version, tmp_path)
    assert ("--experimental" in command) is old
    assert (f"--seccomp-profile={ALLOW_ALL}" in command) is old
    assert command[-1] == "--debug"


def test_hierarchies_are_those_of_version_1_named_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "3:cpu,cpuacct:/\n2:memory:/a\n1:name=systemd:/b\n0::/c\n"
    monkeypatch.setattr("harness.lab.janitor.Path.read_text", lambda _: told)
    assert hierarchies() == ["cpu,cpuacct", "memory", "name=systemd"]
