"""The engine whose containers are the nodes of the lab ``dind``, and its images of engines."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import requests
from docker import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from harness.engine import Engine, EngineFacts
from harness.engine.versions import release_in
from harness.errors import EngineError, LabError, MissingError, UsageError
from harness.images import Say, silent
from harness.lab.client import docker_client
from harness.lab.janitor import LABEL

DEFAULT_SOCKET = Path("/var/run/docker.sock")

REPOSITORY = "swarm-chaos/engine"
"""The name of the images that are made of the harness's own engines. They stay for the next run."""

#: Seconds for one request. The longest, creating a container while three others start, takes two.
_TIMEOUT = 120

_START_OURS = "`swarm-chaos lab engine` starts one of the harness's own"

_VERSIONS = (
    "dockerd --version; containerd --version; docker --version; command -v dockerd; echo $PATH"
)


@dataclass(frozen=True)
class ImageEngine(EngineFacts):
    """An engine that came as an image; ``image`` is its id in the outer engine."""

    image: str


class OuterEngine:
    """An engine of this machine, reached by its unix socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._client: DockerClient | None = None
        self._importing = threading.Lock()

    @classmethod
    def from_environment(cls) -> OuterEngine:
        """Return the engine that ``DOCKER_HOST`` names, or the default socket; nothing is asked.

        Raises :class:`UsageError` for one on another machine.
        """
        host = os.environ.get("DOCKER_HOST", "").strip()
        if not host:
            return cls(DEFAULT_SOCKET)
        if not host.startswith("unix://"):
            raise UsageError(
                f"DOCKER_HOST is {host}: the nodes of the dind lab are entered through this "
                "machine's kernel, and so their engine has to run on this machine",
                hint=f"set DOCKER_HOST to its unix socket, unix:///PATH; {_START_OURS}",
            )
        return cls(Path(host.removeprefix("unix://")))

    def check(self) -> dict[str, Any]:
        """Return what the engine says of itself; an error in words if it cannot run nodes."""
        try:
            if not stat.S_ISSOCK(self.socket.stat().st_mode):
                raise UsageError(f"{self.socket} is not a socket", hint="see DOCKER_HOST")
            info: dict[str, Any] = self.client.info()
        except FileNotFoundError:
            raise MissingError(
                f"the dind lab needs a Docker Engine, and there is none at {self.socket}",
                hint=f"set DOCKER_HOST=unix:///PATH; {_START_OURS}",
            ) from None
        except PermissionError:
            raise MissingError(
                f"you may not use the Docker Engine at {self.socket}",
                hint="run as root, which the dind lab needs anyway",
            ) from None
        except (DockerException, requests.RequestException, OSError, ValueError) as error:
            raise MissingError(
                f"the Docker Engine at {self.socket} does not answer: {said_by(error)}",
                hint=f"start it; {_START_OURS}",
            ) from error
        options = " ".join(info.get("SecurityOptions") or ())
        if "name=rootless" in options:
            raise MissingError(
                f"the Docker Engine at {self.socket} is rootless, and cannot run a node",
                hint=f"name one that runs as root; {_START_OURS}",
            )
        return info

    @property
    def client(self) -> DockerClient:
        """A client of it (timeout 120 s a request); as an ``OSError`` if nobody answers."""
        if self._client is None:
            self._client = docker_client(self.socket, _TIMEOUT)
        return self._client

    @cached_property
    def cgroup_driver(self) -> str:
        """``cgroupfs`` or ``systemd``: who makes its containers' groups."""
        return str(self.client.info().get("CgroupDriver", "cgroupfs"))

    def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            self._client.close()
            self._client = None

    # -- images --------------------------------------------------------------------------------

    def provide(self, reference: str, name: str, *, say: Say = silent) -> ImageEngine:
        """Return the engine in an image, pulled by the outer engine if it has it not yet.

        Raises :class:`EngineError` when there is no such image, or no engine in it.
        """
        try:
            image = self.client.images.get(reference)
        except ImageNotFound:
            say(f"the engine at {self.socket} pulls {reference}")
            image = self._pull(reference)
        try:
            said = self.client.containers.run(
                image,
                entrypoint=["sh", "-c", _VERSIONS],
                network_mode="none",
                remove=True,
                labels={LABEL: "none"},
            ).decode(errors="replace")
        except (APIError, DockerException, requests.RequestException) as error:
            raise EngineError(f"the image {reference} cannot be run: {said_by(error)}") from error
        lines = said.splitlines()
        version = _release("Docker version", lines)
        if version is None:
            raise EngineError(
                f"the image {reference} holds no Docker Engine: its dockerd says "
                f"{said.strip()[:200] or 'nothing'}",
                hint="Docker's own have a tag that ends with -dind: docker:27.3.1-dind",
            )
        path = lines[-1]
        cli = _release("Docker version", [line for line in lines if line.startswith("Docker")][1:])
        digests = image.attrs.get("RepoDigests") or [reference]
        return ImageEngine(
            name=name,
            version=version,
            source=f"image:{digests[0]}",
            digest=str(image.id).removeprefix("sha256:"),
            dockerd=next((line for line in lines if line.startswith("/")), "dockerd"),
            path=path,
            cgroups="v2",
            containerd=_release("containerd", lines) or "unknown",
            cli=cli or "none",
            image=str(image.id),
        )

    def image_of(self, engine: EngineFacts) -> str:
        """Return the id of the image with this engine, made of its root file system if need be."""
        if isinstance(engine, ImageEngine):
            return engine.image
        if not isinstance(engine, Engine):
            raise LabError(f"engine {engine.version} has no root file system on this machine")
        tag = f"{engine.version}-{engine.digest[:12]}".replace("+", "_")  # a mix has a plus
        with self._importing:
            try:
                return str(self.client.images.get(f"{REPOSITORY}:{tag}").id)
            except ImageNotFound:
                return self._import(engine, tag)

    def _pull(self, reference: str) -> Any:
        try:
            return self.client.images.pull(reference)
        except NotFound as error:
            raise EngineError(
                f"there is no image {reference}: {said_by(error)}",
                hint="give a release that Docker has an image docker:*-dind of, image:REF, or an "
                "engine that `swarm-chaos engines` lists",
            ) from error
        except (DockerException, requests.RequestException) as error:
            raise EngineError(
                f"the engine at {self.socket} could not pull {reference}: {said_by(error)}",
                hint="load it there (docker load), or take an engine that the harness builds: "
                "`swarm-chaos engines`",
            ) from error

    def _import(self, engine: Engine, tag: str) -> str:
        with subprocess.Popen(
            ["tar", "-C", str(engine.rootfs), "-c", "."],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as tar:
            try:
                self.client.api.import_image_from_stream(
                    tar.stdout,
                    repository=REPOSITORY,
                    tag=tag,
                    changes=[
                        f"ENV PATH={engine.path}",
                        f"LABEL swarm-chaos.engine={engine.digest}",
                    ],
                )
                return str(self.client.images.get(f"{REPOSITORY}:{tag}").id)
            except (DockerException, requests.RequestException) as error:
                tar.kill()
                raise EngineError(
                    f"the engine at {self.socket} did not take an image of {engine.version}: "
                    f"{said_by(error)}"
                ) from error


def _release(program: str, lines: list[str]) -> str | None:
    return next((release_in(line) for line in lines if line.startswith(program)), None)


def said_by(error: Exception) -> str:
    text = getattr(error, "explanation", None) or getattr(error, "strerror", None) or error
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return " ".join(str(text).split())
