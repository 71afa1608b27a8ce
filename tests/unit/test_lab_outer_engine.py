"""Which engine's containers would be nodes, and which one is refused before anything is touched."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optionals import not_none

from harness.engine import resolve
from harness.errors import HarnessError, MissingError, UsageError
from harness.lab.outer_engine import DEFAULT_SOCKET, OuterEngine
from harness.swarm.lab_makers import image_of


@pytest.fixture
def deaf(tmp_path: Path) -> Iterator[Path]:
    """A socket at which nobody listens."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        yield path


def test_the_engine_is_the_one_that_docker_host_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    assert OuterEngine.from_environment().socket == DEFAULT_SOCKET
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/user/docker.sock")
    assert OuterEngine.from_environment().socket == Path("/run/user/docker.sock")


@pytest.mark.parametrize("host", ["tcp://10.0.0.7:2376", "ssh://you@there", "10.0.0.7:2375"])
def test_an_engine_of_another_machine_is_refused(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(UsageError, match=f"DOCKER_HOST is {host}.* on this machine") as refusal:
        OuterEngine.from_environment()
    assert "unix:///PATH" in not_none(refusal.value.hint)


def test_no_engine_a_file_and_a_deaf_socket_are_told_apart(tmp_path: Path, deaf: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, said in (
        (tmp_path / "none", "there is none at"),
        (tmp_path / "file", "is not a socket"),
        (deaf, "does not answer: Connection refused"),
    ):
        with pytest.raises(HarnessError, match=said) as refusal:
            OuterEngine(path).check()
        assert refusal.value.hint
        assert "\n" not in refusal.value.what


class Pretended(OuterEngine):
    """Says of itself what a test wants, or fails with it."""

    def __init__(self, path: Path, info: dict[str, Any] | Exception) -> None:
        super().__init__(path)
        self.says = info

    @property
    def client(self) -> Any:
        if isinstance(self.says, Exception):
            raise self.says
        return SimpleNamespace(info=lambda: self.says)


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (PermissionError(13, "Permission denied"), "you may not use the Docker Engine at"),
        ({"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}, "is rootless"),
    ],
)
def test_an_engine_that_cannot_run_a_node_is_refused(
    deaf: Path, info: dict[str, Any] | Exception, said: str
) -> None:
    with pytest.raises(MissingError, match=said):
        Pretended(deaf, info).check()


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("stable", None),
        ("26.1.5", None),
        ("dir:/opt/docker", None),
        ("archive:27.3.1", None),
        ("27.3.1", "docker:27.3.1-dind"),
        ("27.*", "docker:27-dind"),
        ("image:docker:26.1.5-dind", "docker:26.1.5-dind"),
        ("image:docker@sha256:abc", "docker@sha256:abc"),
    ],
)
def test_a_release_that_the_harness_cannot_build_is_dockers_image(
    name: str, image: str | None
) -> None:
    assert image_of(resolve(name)) == image
