"""Docker archives: what is in them, and that they are the same each time."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

from optionals import not_none

from harness.images.docker_archive import (
    ImageRecipe,
    LayerFile,
    read_layer,
    write_archive,
    write_layer,
)

FILES = [
    LayerFile("etc/file", b"text"),
    LayerFile("etc", mode=0o755),
    LayerFile("link", link="etc/file"),
    LayerFile("bin", b"#!", mode=0o755),
]


def archive(folder: Path, files: Sequence[LayerFile]) -> Path:
    folder.mkdir()
    write_layer(folder / "base", files)
    write_layer(folder / "top", [LayerFile("top", b"1")])
    write_archive(
        folder / "out",
        [
            ImageRecipe("x/a:1", (folder / "base", folder / "top"), {"Entrypoint": ["/a"]}),
            ImageRecipe("x/b:1", (folder / "base",), {"Entrypoint": ["/b"]}),
        ],
    )
    return folder / "out"


def test_the_same_files_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    one = archive(tmp_path / "one", FILES)
    other = archive(tmp_path / "other", list(reversed(FILES)))
    assert one.read_bytes() == other.read_bytes()


def test_every_image_names_layers_and_a_configuration_that_are_there(tmp_path: Path) -> None:
    with tarfile.open(archive(tmp_path / "a", FILES)) as tar:
        names = tar.getnames()
        assert len(names) == len(set(names))
        manifest = json.load(not_none(tar.extractfile("manifest.json")))
        assert [image["RepoTags"] for image in manifest] == [["x/a:1"], ["x/b:1"]]
        assert manifest[0]["Layers"][0] == manifest[1]["Layers"][0]
        for image in manifest:
            raw = not_none(tar.extractfile(image["Config"])).read()
            assert image["Config"] == f"{hashlib.sha256(raw).hexdigest()}.json"
            found = [
                "sha256:" + hashlib.sha256(not_none(tar.extractfile(layer)).read()).hexdigest()
                for layer in image["Layers"]
            ]
            assert json.loads(raw)["rootfs"]["diff_ids"] == found


def test_a_layer_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_layer(tmp_path / "layer", FILES)
    write_layer(tmp_path / "again", read_layer(tmp_path / "layer"))
    assert (tmp_path / "again").read_bytes() == (tmp_path / "layer").read_bytes()
    assert {each.name: each.data for each in read_layer(tmp_path / "layer")}["etc/file"] == b"text"


def test_a_layer_is_owned_by_root_and_keeps_modes_and_links(tmp_path: Path) -> None:
    write_layer(tmp_path / "layer", FILES)
    with tarfile.open(tmp_path / "layer") as tar:
        members = {member.name: member for member in tar}
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}
    assert members["bin"].mode == 0o755
    assert members["etc"].isdir()
    assert members["link"].linkname == "etc/file"
