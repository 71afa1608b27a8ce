"""Faults of a registry: wrong or late answers, a moved tag, a lost manifest, another password."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import FaultError, LabError, UsageError
from harness.faults.parameter import DURATION, NAME, ValueType, parameter, state
from harness.faults.service.service_fault import ServiceFault
from harness.services.registry import Registry

_CLIENT_ERRORS = (401, 403, 404, 429)
_PATIENCE = 5.0  # s that an honest answer may take, on a slow machine
_PASSWORD = "another password"


class _Refusal(ValueType[int]):
    """An HTTP status that a registry may refuse with."""

    def read(self, text: str) -> int:
        """Return the status of a text such as ``503``."""
        return self.check(int(text) if text.isdecimal() else text)

    def check(self, value: Any) -> int:
        """Return one of 401, 403, 404, 429, or 500 to 599."""
        if value in _CLIENT_ERRORS or value in range(500, 600):
            return int(value)
        raise UsageError(f"{value!r} is not a valid refusal: give 401, 403, 404, 429 or 5xx")


class _RegistryFault(ServiceFault[Registry]):
    of = Registry

    def evidence_of_healing(self) -> str:
        """Check that a client with the password is let in, soon."""
        reply = self.service.ask(auth=self.service.auth, timeout=_PATIENCE)
        if reply.status != 200:
            raise FaultError(f"{self.service.name} answers {reply.status or 'nothing'}")
        return f"{self.service.name} lets in a client with the password, after {reply.took:.3f} s"


class RegistryAnswers(_RegistryFault):
    """The registry answers every request with one status."""

    name = "registry-answers"
    summary = "A registry answers every request with one HTTP status: 401, 403, 404, 429 or 5xx."
    proof = "a request from elsewhere with the password gets this status; healed: it is let in"
    excludes = ("the answers",)

    status: int = parameter(_Refusal(), "the status, such as 429 or 503")

    def apply(self) -> None:
        """Answer with the status."""
        self.service.behave("answer", status=self.status)

    def evidence(self) -> str:
        """Check that a correct request gets this status."""
        seen = self.service.ask(auth=self.service.auth, timeout=_PATIENCE).status
        if seen != self.status:
            raise FaultError(f"{self.service.name} answers {seen or 'nothing'}")
        return f"{self.service.name} answers {seen} to a client with the password"

    def undo(self) -> None:
        """Serve."""
        self.service.behave("serve")


class RegistrySlow(_RegistryFault):
    """The registry answers late."""

    name = "registry-slow"
    summary = "A registry answers correctly, but each answer comes late."
    proof = "an answer to elsewhere takes that long; healed: it comes sooner"
    excludes = ("the answers",)

    delay: float = parameter(
        DURATION.between("1ms", "1h"), "how late each answer comes", default="10s"
    )

    def apply(self) -> None:
        """Hold each answer back."""
        self.service.behave("slow", delay=self.delay)

    def evidence(self) -> str:
        """Check that an answer takes that long, or does not come in time."""
        limit = min(self.delay + _PATIENCE, 2 * _PATIENCE)
        reply = self.service.ask(auth=self.service.auth, timeout=limit)
        if reply.status and reply.took < self.delay:
            raise FaultError(f"{self.service.name} answers after {reply.took:.3f} s")
        return f"{self.service.name} has {'' if reply.status else 'not '}answered " + (
            f"after {reply.took:.3f} s"
        )

    def undo(self) -> None:
        """Answer at once."""
        self.service.behave("serve")


class RegistryTagMoved(_RegistryFault):
    """A tag names another image."""

    name = "registry-tag-moved"
    summary = "A tag of a registry names the image of another tag, as after a push over it."
    proof = "asked from elsewhere, the tag's digest is that of the other; healed: its own again"

    repository: str = parameter(NAME, "the repository, such as app")
    tag: str = parameter(NAME, "the tag that moves")
    to: str = parameter(NAME, "the tag whose image it then names")
    _before: bytes = state(b"")
    _digests: tuple[str, str] = state(("", ""))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tag == self.to:
            raise UsageError(f"the tag {self.tag} cannot move to itself")

    def claims(self) -> frozenset[str]:
        """Claim the tag."""
        return frozenset({f"the tag {self.repository}:{self.tag} of {self.service.name}"})

    def precheck(self) -> None:
        """Require both tags, and that they name different images."""
        super().precheck()
        tags = self.service.tags(self.repository)
        for tag in (self.tag, self.to):
            if tag not in tags:
                raise FaultError(f"{self.service.name} has no {self.repository}:{tag}")
        self._digests = tags[self.tag], tags[self.to]
        if self._digests[0] == self._digests[1]:
            raise FaultError(f"{self.repository}:{self.tag} and :{self.to} are one image already")

    def apply(self) -> None:
        """Put the other's manifest under the tag."""
        self._before = self.service.manifest(self.repository, self.tag)
        other = self.service.manifest(self.repository, self.to)
        self.service.put_manifest(self.repository, self.tag, other)

    def evidence(self) -> str:
        """Check that the tag has the other's digest."""
        return self._named(self._digests[1])

    def undo(self) -> None:
        """Put its own manifest back."""
        if self._before:
            self.service.put_manifest(self.repository, self.tag, self._before)

    def evidence_of_healing(self) -> str:
        """Check that the tag has its own digest."""
        return self._named(self._digests[0])

    def _named(self, digest: str) -> str:
        reply = _manifest(self.service, self.repository, self.tag)
        if reply != digest:
            raise FaultError(f"{self.repository}:{self.tag} is {reply or 'nothing'}, not {digest}")
        return f"{self.repository}:{self.tag} is {digest}"


class RegistryManifestLost(_RegistryFault):
    """A manifest is gone, and the tags that name it."""

    name = "registry-manifest-lost"
    summary = "A registry loses an image's manifest, and with it every tag that names it."
    proof = "asked from elsewhere for tag and digest, it knows neither; healed: it knows both"

    repository: str = parameter(NAME, "the repository, such as app")
    tag: str = parameter(NAME, "a tag of the image")
    _lost: bytes = state(b"")
    _tags: list[str] = state(factory=list)
    _digest: str = state("")

    def claims(self) -> frozenset[str]:
        """Claim the tag."""
        return frozenset({f"the tag {self.repository}:{self.tag} of {self.service.name}"})

    def precheck(self) -> None:
        """Require the image."""
        super().precheck()
        tags = self.service.tags(self.repository)
        if self.tag not in tags:
            raise FaultError(f"{self.service.name} has no {self.repository}:{self.tag}")
        self._digest = tags[self.tag]
        self._tags = [name for name, digest in tags.items() if digest == self._digest]

    def apply(self) -> None:
        """Delete it."""
        self._lost = self.service.manifest(self.repository, self.tag)
        self.service.delete_manifest(self.repository, self._digest)

    def evidence(self) -> str:
        """Check that neither the tag nor the digest is known."""
        for name in (self.tag, self._digest):
            if found := _manifest(self.service, self.repository, name):
                raise FaultError(f"{self.service.name} still has {self.repository} {found}")
        return f"{self.service.name} knows neither {self.repository}:{self.tag} nor {self._digest}"

    def undo(self) -> None:
        """Put it back under all its tags."""
        if self._lost:
            for tag in self._tags:
                self.service.put_manifest(self.repository, tag, self._lost)

    def evidence_of_healing(self) -> str:
        """Check that the tag has its digest again."""
        found = _manifest(self.service, self.repository, self.tag)
        if not found or found != self._digest:
            raise FaultError(f"{self.repository}:{self.tag} is {found or 'not there'}")
        return f"{self.repository}:{self.tag} is {found}"


class RegistryPasswordChanged(_RegistryFault):
    """The password is changed."""

    name = "registry-password-changed"
    summary = "A registry's password changes: clients with the old one are refused."
    proof = "a client elsewhere with the old password is refused (401); healed: it is let in"
    excludes = ("the password",)

    _old: Mapping[str, str] = state(factory=dict)

    def precheck(self) -> None:
        """Keep the password that is in force."""
        super().precheck()
        self._old = self.service.auth

    def apply(self) -> None:
        """Change it."""
        self.service.change_password(_PASSWORD)

    def evidence(self) -> str:
        """Check that the old password is refused, the new one accepted."""
        old = self.service.ask(auth=self._old, timeout=_PATIENCE).status
        new = self.service.ask(auth=self.service.auth, timeout=_PATIENCE).status
        if (old, new) != (401, 200):
            raise FaultError(f"the old password is answered by {old}, the new one by {new}")
        return f"{self.service.name} refuses the old password and accepts the new one"

    def undo(self) -> None:
        """Change it back."""
        self.service.change_password(self._old["password"])


def _manifest(registry: Registry, repository: str, name: str) -> str:
    """The digest of a tag or digest, requested as a node would; "" if it is not known."""
    path = f"/v2/{repository}/manifests/{name}"
    reply = registry.ask(path, auth=registry.auth, timeout=_PATIENCE)
    if reply.status not in (200, 404):
        raise LabError(f"{registry.name} answers {reply.status or 'nothing'} to {path}")
    return reply.digest if reply.status == 200 else ""
