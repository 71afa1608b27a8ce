"""A registry: Debian's docker-registry with passwords, behind a TLS proxy that can go wrong."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import shutil
import ssl
import tarfile
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlencode

import requests
from docker.errors import DockerException

from harness.errors import LabError, UsageError
from harness.images.registry import RegistryProgram
from harness.lab import Lab, Node
from harness.services.base import ExternalService
from harness.services.credentials import Certificate, certificate_for, write_passwords
from harness.wait import Deadline, NotYet, wait_for

USER = "swarm"
_KEEPER = "keeper"
_BACKEND = 5001

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
#: Not compressed: an emulated guest compresses slowly, and every engine takes it.
_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

_TIMEOUT = 60.0

#: Go reads /etc/hosts again after 5 s (net/hosts.go), so that is how long a dockerd may take to
#: know a new name; then there is a connection, and a slow machine.
_FOUND_WITHIN = 30.0


@dataclass(frozen=True)
class Reply:
    """The registry's answer: ``status`` 0 for none at all. ``took`` is in seconds."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    took: float

    @property
    def digest(self) -> str:
        """The digest of the manifest in the answer."""
        return self.headers.get("docker-content-digest", "")


class Registry(ExternalService):
    """A registry that nodes trust and reach as ``<name>.test:5000``; it requires a password.

    Its images are put there by :meth:`publish`. What it keeps ends with it.
    """

    kind: ClassVar = "registry"
    port: ClassVar = 5000
    program: ClassVar = "harness.services.servers.registry_proxy"

    def __init__(self, lab: Lab, name: str, *, program: RegistryProgram, log: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=lab.folder))
        self.user = USER
        self.password = "first password"
        self._keeper = "keeper's password"
        self._write_passwords()
        host = lab.client_host(name)
        self._certificate = self._certify(name, host.address)
        config = self._folder / "registry.json"  # JSON is YAML too
        config.write_text(json.dumps(_config(self._folder)))
        settings = {
            "port": self.port,
            "backend": _BACKEND,
            "registry": [*program.command, "serve", str(config)],
            "certificate": str(self._certificate.certificate),
            "key": str(self._certificate.key),
        }
        super().__init__(lab, name, settings, log)
        self._be_trusted()
        self._be_found()

    def reference(self, repository: str, tag: str) -> str:
        """Return an image's full name, as nodes ask for it."""
        return f"{self.authority}/{repository}:{tag}"

    @property
    def authority(self) -> str:
        """Its name and port, as ``docker login`` takes them."""
        return f"{self.hostname}:{self.port}"

    @property
    def auth(self) -> dict[str, str]:
        """User name and password as the Docker SDK takes them (``auth_config``)."""
        return {"username": self.user, "password": self.password}

    # -- what is in it -------------------------------------------------------------------------

    def publish(self, archive: Path, image: str, repository: str, tag: str) -> str:
        """Put an image of a docker-archive (``name:tag``) into the registry; return its digest."""
        with tarfile.open(archive, "r:") as tar:
            for entry in json.loads(_member(tar, "manifest.json")):
                if image in (entry["RepoTags"] or ()):
                    break
            else:
                raise UsageError(f"the archive {archive.name} does not contain the image {image}")
            config = _member(tar, entry["Config"])
            manifest = {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": self._put_blob(repository, config, _CONFIG),
                "layers": [
                    self._put_blob(repository, _member(tar, name), _LAYER)
                    for name in entry["Layers"]
                ],
            }
        return self.put_manifest(repository, tag, json.dumps(manifest).encode())

    def manifest(self, repository: str, tag: str) -> bytes:
        """Return the manifest that a tag or digest names; :class:`LabError` if there is none."""
        return self._tend("GET", f"/v2/{repository}/manifests/{tag}", wanted=200).body

    def put_manifest(self, repository: str, tag: str, manifest: bytes) -> str:
        """Point a tag at a manifest whose layers the registry has; return its digest."""
        path = f"/v2/{repository}/manifests/{tag}"
        return self._tend("PUT", path, manifest, kind=_MANIFEST, wanted=201).digest

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Delete a manifest, and with it all tags that name it."""
        self._tend("DELETE", f"/v2/{repository}/manifests/{digest}", wanted=202)

    def tags(self, repository: str) -> dict[str, str]:
        """Return the digest that each tag of a repository names."""
        listed = self._tend("GET", f"/v2/{repository}/tags/list", wanted=None)
        names = json.loads(listed.body).get("tags") or () if listed.status == 200 else ()
        path = f"/v2/{repository}/manifests"
        replies = {name: self._tend("HEAD", f"{path}/{name}", wanted=None) for name in names}
        return {name: reply.digest for name, reply in replies.items() if reply.status == 200}

    def change_password(self, password: str) -> None:
        """Change the user's password; clients with the old one are refused."""
        self.password = password
        self._write_passwords()

    # -- asking as a client would --------------------------------------------------------------

    def ask(
        self,
        path: str = "/v2/",
        *,
        auth: Mapping[str, str] | None = None,
        timeout: float = 5.0,
    ) -> Reply:
        """GET a path over TLS from elsewhere on the fabric, with ``auth`` (see :attr:`auth`)."""
        trusted = ssl.create_default_context(cafile=str(self._certificate.certificate))
        where = (self.address, self.port)
        headers = {"Accept": _MANIFEST, **_basic(auth)}

        def get() -> Reply:
            connection = http.client.HTTPSConnection(*where, timeout=timeout, context=trusted)
            return _asked(connection, "GET", path, None, headers)

        return self.from_elsewhere(get)

    def close(self) -> None:
        """Stop it and remove its files."""
        super().close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- within --------------------------------------------------------------------------------

    def _certify(self, name: str, address: str) -> Certificate:
        return certificate_for(
            self._folder, [f"{name}.test"], [address, self.address_elsewhere(address)]
        )

    def _write_passwords(self) -> None:
        write_passwords(
            self._folder / "htpasswd", {self.user: self.password, _KEEPER: self._keeper}
        )

    def _be_trusted(self) -> None:
        place = f"/etc/docker/certs.d/{self.authority}"
        certificate = self._certificate.certificate.read_bytes()
        for node in self.lab.nodes.values():
            if node.up:
                script = 'mkdir -p "$1" && cat >"$1/ca.crt"'
                node.run(["sh", "-c", script, "sh", place], stdin=certificate)

    def _be_found(self) -> None:
        """Wait until every engine that runs can log in."""
        deadline = Deadline(_FOUND_WITHIN)
        for node in self.lab.nodes.values():
            if node.up and node.dockerd.alive:
                wait_for(
                    lambda node=node: self._lets_in(node),  # type: ignore[misc]
                    state=f"{node.name} to log in at {self.hostname}",
                    within=deadline.remaining,
                    every=0.5,
                )

    def _lets_in(self, node: Node) -> bool | NotYet:
        client = node.client(timeout=10)
        try:
            client.login(self.user, self.password, registry=self.authority)
        except (DockerException, requests.exceptions.RequestException) as error:
            return NotYet(str(getattr(error, "explanation", error)))
        finally:
            client.close()
        return True

    def _put_blob(self, repository: str, data: bytes, kind: str) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        there = self._tend("HEAD", f"/v2/{repository}/blobs/{digest}", wanted=None)
        if there.status != 200:
            begun = self._tend("POST", f"/v2/{repository}/blobs/uploads/", wanted=202)
            place = begun.headers["location"]
            place += ("&" if "?" in place else "?") + urlencode({"digest": digest})
            self._tend("PUT", place, data, kind="application/octet-stream", wanted=201)
        return {"mediaType": kind, "size": len(data), "digest": digest}

    def _tend(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        kind: str = "",
        wanted: int | None,
    ) -> Reply:
        """Ask the registry behind the proxy as its administrator, whatever the proxy does."""
        headers = {
            "Accept": _MANIFEST,
            **({"Content-Type": kind} if kind else {}),
            **_basic({"username": _KEEPER, "password": self._keeper}),
        }

        def asked() -> Reply:
            connection = http.client.HTTPConnection("127.0.0.1", _BACKEND, timeout=_TIMEOUT)
            return _asked(connection, method, path, body, headers)

        reply = self.host.network.call(asked)
        if wanted is not None and reply.status != wanted:
            said = reply.body.decode(errors="replace")[:300]
            raise LabError(f"{self.name} answers {reply.status} to {method} {path}: {said}")
        return reply


def _config(folder: Path) -> dict[str, object]:
    return {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "data")},
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": f"127.0.0.1:{_BACKEND}", "relativeurls": True},
        "auth": {"htpasswd": {"realm": "swarm-chaos", "path": str(folder / "htpasswd")}},
    }


def _basic(auth: Mapping[str, str] | None) -> dict[str, str]:
    if auth is None:
        return {}
    words = f"{auth['username']}:{auth['password']}".encode()
    return {"Authorization": f"Basic {base64.b64encode(words).decode()}"}


def _asked(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
) -> Reply:
    began = time.monotonic()
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        read = answer.read()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, found, read, time.monotonic() - began)
    except (OSError, http.client.HTTPException):
        return Reply(0, {}, b"", time.monotonic() - began)
    finally:
        connection.close()


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    source = tar.extractfile(name)
    if source is None:
        raise UsageError(f"{name} in an image's archive is not a file")
    return source.read()
