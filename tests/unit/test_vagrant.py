"""What is said to Vagrant, and the box that is built for it: syntax, and what needs no QEMU."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ImageError

REPOSITORY = Path(__file__).parents[2]


def program(path: Path) -> Any:
    """Import a program that is no module of a package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


box = program(REPOSITORY / "vagrant" / "box.py")


@pytest.mark.parametrize(
    "argv",
    [
        ["ruby", "-c", "vagrant/Vagrantfile"],
        ["ruby", "-c", "harness/lab/ssh/Vagrantfile"],
        ["bash", "-n", "vagrant/provision.sh"],
        ["bash", "-n", ".ci/vagrant"],
        ["ruby", "-e", box.VAGRANTFILE, "-c"],
        ["sh", "-n", "-c", box.SETUP],
    ],
    ids=lambda argv: " ".join(word for word in argv if "\n" not in word),
)
def test_the_syntax_is_right(argv: Sequence[str]) -> None:
    if shutil.which(argv[0]) is None:
        pytest.skip(f"no program {argv[0]} here")
    ran = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def root_tar(path: Path, files: Sequence[str]) -> None:
    """Write an archive of a root file system with these files, each with its own name in it."""
    with tarfile.open(path, "w") as tar:
        for name in files:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))


def test_kernel_and_initrd_lie_beside_the_disk(tmp_path: Path) -> None:
    others = [
        "./boot/config-6.1-cloud-amd64",
        "./usr/share/vmlinuz-6.1",
        "./boot/grub/initrd.img-1",
    ]
    boots = ["./boot/initrd.img-6.1-cloud-amd64", "./boot/vmlinuz-6.1-cloud-amd64"]
    root_tar(tmp_path / "root.tar", [*others[:2], *boots, others[2]])
    box.take_kernel(tmp_path)
    assert {p.name: p.read_text() for p in tmp_path.iterdir() if p.name != "root.tar"} == {
        "initrd": boots[0],
        "vmlinuz": boots[1],
    }


def test_a_root_without_a_kernel_makes_no_box(tmp_path: Path) -> None:
    root_tar(tmp_path / "root.tar", ["./boot/vmlinuz-6.1-cloud-amd64"])
    with pytest.raises(ImageError, match="the packages brought no initrd"):
        box.take_kernel(tmp_path)


def test_a_box_is_what_vagrant_unpacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def installed(recipe: Any, target: Path, **_: Any) -> None:
        asked.append(recipe)
        root_tar(target, ["./boot/vmlinuz-6.1", "./boot/initrd.img-6.1"])

    monkeypatch.setattr(box, "root_tar", installed)
    monkeypatch.setattr(box, "write_disk", lambda scratch: (scratch / "box.img").touch())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    made = box.build("trixie", scratch, tmp_path / "it.box")
    with tarfile.open(made) as tar:
        # Vagrant asks for metadata.json first; a name that is not its own it keeps as it is.
        assert tar.getnames() == ["metadata.json", "Vagrantfile", "vmlinuz", "initrd", "box.img"]
        metadata = tar.extractfile("metadata.json")
        assert metadata is not None
        assert json.load(metadata) == {
            "provider": "libvirt",
            "format": "qcow2",
            "virtual_size": 8,
        }
    (recipe,) = asked
    assert recipe.suite == "trixie"
    assert {"python3", "nftables", "iproute2", "util-linux"} <= set(recipe.packages)
