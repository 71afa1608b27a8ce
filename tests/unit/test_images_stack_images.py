"""Images of a stack of one's own: what is found in which source, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.images import Cache
from harness.images.docker_archive import ImageRecipe, LayerFile, write_archive, write_layer
from harness.images.stack_images import FileSource, Reference, gathered, source_at


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    path = tmp_path / "layer.tar"
    write_layer(path, [LayerFile("srv", mode=0o755), LayerFile("srv/a", b"one")])
    return path


@pytest.fixture
def saved(tmp_path: Path, layer: Path) -> Path:
    path = tmp_path / "images.tar"
    recipes = [ImageRecipe(tag, (layer,), {"Env": [tag]}) for tag in ("shop/web:3", "nginx:latest")]
    write_archive(path, recipes)
    return path


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layout(
    root: Path,
    layer: bytes,
    *,
    name: dict[str, str],
    machine: str = "amd64",
    diff_id: str | None = None,
    packed: bytes | None = None,
) -> str:
    """An OCI layout with an image index in it, as buildkit and skopeo write them; its digest."""

    def put(data: bytes) -> dict[str, Any]:
        digest = digest_of(data)
        path = root / "blobs" / digest.replace(":", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return {"digest": digest, "size": len(data)}

    config = {
        "os": "linux",
        "architecture": machine,
        "rootfs": {"type": "layers", "diff_ids": [diff_id or digest_of(layer)]},
    }
    manifest = {
        "config": put(json.dumps(config).encode()),
        "layers": [put(gzip.compress(layer, mtime=0) if packed is None else packed)],
    }
    platform = {"os": "linux", "architecture": machine}
    own = put(json.dumps(manifest).encode()) | {"platform": platform}
    elsewhere = {"digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "arm"}}
    index = put(json.dumps({"manifests": [own, elsewhere]}).encode())
    (root / "index.json").write_text(json.dumps({"manifests": [index | {"annotations": name}]}))
    return str(index["digest"])


def loaded(archive: Path) -> dict[str, list[str]]:
    with tarfile.open(archive) as tar:
        listed = tar.extractfile("manifest.json")
        assert listed is not None
        return {entry["RepoTags"][0]: entry["Layers"] for entry in json.load(listed)}


@pytest.mark.parametrize(
    ("written", "local", "asked"),
    [
        ("nginx", "nginx:latest", "nginx:latest"),
        ("docker.io/library/nginx:1", "nginx:1", "nginx:1"),
        ("r.test:5000/a", "r.test:5000/a:latest", "r.test:5000/a:latest"),
        ("a@sha256:" + "ab" * 32, "a:abababababab", "a@sha256:" + "ab" * 32),
        ("a:1@sha256:" + "ab" * 32, "a:1-abababababab", "a@sha256:" + "ab" * 32),
    ],
)
def test_a_reference_has_a_name_on_nodes(written: str, local: str, asked: str) -> None:
    found = Reference.parse(written)
    assert (found.local, found.written) == (local, asked)


def test_what_docker_save_wrote_keeps_its_ids(tmp_path: Path, saved: Path) -> None:
    wanted = [Reference.parse("shop/web:3")]
    archive = gathered(wanted, [FileSource(saved)], Cache(tmp_path / "cache"))
    assert list(loaded(archive)) == ["shop/web:3"]
    with closing(FileSource(archive)) as again, closing(FileSource(saved)) as before:
        assert again.find(wanted[0]) == before.find(wanted[0])
        assert gathered(wanted, [again], Cache(tmp_path / "cache")) == archive  # by id, from there


@pytest.mark.parametrize("as_tar", [False, True])
def test_an_oci_layout_is_read_as_a_folder_and_as_a_tar(
    as_tar: bool, tmp_path: Path, layer: Path
) -> None:
    root = tmp_path / "web"
    digest = layout(root, layer.read_bytes(), name={"org.opencontainers.image.ref.name": "3"})
    if as_tar:
        with tarfile.open(tmp_path / "web.tar", "w") as tar:
            tar.add(root, arcname=".")
        root = tmp_path / "web.tar"
    wanted = [Reference.parse("web:3"), Reference.parse(f"web@{digest}")]
    archive = gathered(wanted, [FileSource(root)], Cache(tmp_path / "cache"))
    assert set(loaded(archive)) == {"web:3", wanted[1].local}


def test_a_digest_is_never_taken_by_its_tag(tmp_path: Path, saved: Path) -> None:
    """An archive of docker save knows no registry's digests: a pin is not weakened in silence."""
    wanted = [Reference.parse("nginx:latest@sha256:" + "1" * 64)]
    with pytest.raises(UsageError, match="nobody brings nginx@sha256:111"):
        gathered(wanted, [FileSource(saved)], Cache(tmp_path / "cache"))


def test_an_image_for_another_machine_is_refused(tmp_path: Path, layer: Path) -> None:
    name = {"io.containerd.image.name": "docker.io/library/web:3"}
    layout(tmp_path / "web", layer.read_bytes(), name=name, machine="arm64")
    with pytest.raises(UsageError, match="neither a manifest"):
        gathered(
            [Reference.parse("web:3")],
            [FileSource(tmp_path / "web")],
            Cache(tmp_path / "cache"),
        )


@pytest.mark.parametrize(
    ("packed", "sentence"),
    [
        (b"\x28\xb5\x2f\xfd....", "zstd"),
        (gzip.compress(b"other", mtime=0), "damaged"),
        (gzip.compress(b"other" * 1000, mtime=0)[:-20], "cannot be read"),
    ],
)
def test_a_layer_that_is_not_what_it_should_be_is_refused(
    packed: bytes, sentence: str, tmp_path: Path, layer: Path
) -> None:
    name = {"io.containerd.image.name": "docker.io/library/web:3"}
    layout(tmp_path / "web", layer.read_bytes(), name=name, packed=packed)
    with pytest.raises(UsageError, match=sentence):
        gathered(
            [Reference.parse("web:3")],
            [FileSource(tmp_path / "web")],
            Cache(tmp_path / "cache"),
        )
    assert not list((tmp_path / "cache").rglob("images.tar"))


def test_a_layout_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    root = tmp_path / "web"
    root.mkdir()
    (tmp_path / "secret.json").write_text("{}")
    entry = {"Config": "../secret.json", "RepoTags": ["web:3"], "Layers": []}
    (root / "manifest.json").write_text(json.dumps([entry]))
    with pytest.raises(UsageError, match="missing"):
        FileSource(root).find(Reference.parse("web:3"))


@pytest.mark.parametrize("written", ["tcp://10.0.0.1:2375", "ssh://host", "nowhere.tar"])
def test_a_source_has_to_be_on_this_machine(written: str) -> None:
    with pytest.raises(UsageError):
        source_at(written)


def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("readme")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with closing(FileSource(path)) as source, pytest.raises(UsageError, match="neither a manifest"):
        source.find(Reference.parse("a"))
