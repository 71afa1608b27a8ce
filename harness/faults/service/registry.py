"""Faults of a registry: wrong or late answers, a moved tag, a lost manifest, another password."""

from __future__ import annotations

from typing import Any

from harness.errors import FaultError, LabError, UsageError
from harness.faults.parameter import Parameter, duration
from harness.faults.service.service_fault import ServiceFault
from harness.services import Registry
from harness.trial import Trial

_WELL = (401, 403, 404, 429)
_PATIENCE = 5.0  # s that an honest answer may take, on a slow machine
_PASSWORD = "another password"


def status(text: str) -> int:
    """An HTTP status that a registry may refuse with: 401, 403, 404, 429, or 500 to 599."""
    if not text.isdecimal() or not (int(text) in _WELL or 500 <= int(text) <= 599):
        raise UsageError(f"{text!r} is no refusal", hint="401, 403, 404, 429, or 500 to 599")
    return int(text)


class _RegistryFault(ServiceFault[Registry]):
    of = Registry

    def evidence_of_healing(self) -> str:
        """Who has the password is let in, soon."""
        reply = self.service.ask(auth=self.service.auth, timeout=_PATIENCE)
        if reply.status != 200:
            raise FaultError(f"{self.service.name} answers {reply.status or 'nothing'}")
        return f"{self.service.name} lets in who has the password, after {reply.took:.3f} s"


class RegistryAnswers(_RegistryFault):
    """The registry answers all with one status."""

    name = "registry-answers"
    summary = "A registry answers every request with one HTTP status: 401, 403, 404, 429 or 5xx."
    parameters = (Parameter("status", status, "", "the status, such as 429 or 503"),)
    proof = "a request from elsewhere, password and all, is answered so; healed: it is let in"
    excludes = ("the answers",)

    def __init__(self, trial: Trial, service: Registry, *, status: int) -> None:
        super().__init__(trial, service)
        if status not in _WELL and not 500 <= status <= 599:
            raise UsageError(f"{status} is no refusal", hint="401, 403, 404, 429, or 500 to 599")
        self.status = status

    def describe(self) -> dict[str, Any]:
        """The registry, and what it answers."""
        return {**super().describe(), "status": self.status}

    def apply(self) -> None:
        """Answer so."""
        self.service.behave("answer", status=self.status)

    def evidence(self) -> str:
        """A request that is in order is answered so."""
        seen = self.service.ask(auth=self.service.auth, timeout=_PATIENCE).status
        if seen != self.status:
            raise FaultError(f"{self.service.name} answers {seen or 'nothing'}")
        return f"{self.service.name} answers {seen} to who has the password"

    def undo(self) -> None:
        """Serve."""
        self.service.behave("serve")


class RegistrySlow(_RegistryFault):
    """The registry answers late."""

    name = "registry-slow"
    summary = "A registry answers rightly, but each answer comes late."
    parameters = (Parameter("delay", duration, "s", "how late each answer comes", "10s"),)
    proof = "an answer to elsewhere takes that long; healed: it comes sooner"
    excludes = ("the answers",)

    def __init__(self, trial: Trial, service: Registry, *, delay: float = 10.0) -> None:
        super().__init__(trial, service)
        if delay <= 0:
            raise UsageError(f"a registry cannot be {delay:g} s late")
        self.delay = delay

    def describe(self) -> dict[str, Any]:
        """The registry, and how late it is."""
        return {**super().describe(), "delay": self.delay}

    def apply(self) -> None:
        """Hold each answer back."""
        self.service.behave("slow", delay=self.delay)

    def evidence(self) -> str:
        """An answer takes that long, or does not come while one could have."""
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
    parameters = (
        Parameter("repository", str, "", "the repository, such as app"),
        Parameter("tag", str, "", "the tag that moves"),
        Parameter("to", str, "", "the tag whose image it names then"),
    )
    proof = "asked from elsewhere, the tag's digest is that of the other; healed: its own again"

    def __init__(
        self, trial: Trial, service: Registry, *, repository: str, tag: str, to: str
    ) -> None:
        super().__init__(trial, service)
        if tag == to:
            raise UsageError(f"the tag {tag} cannot move to itself")
        self.repository, self.tag, self.to = repository, tag, to
        self._before = b""
        self._digests = ("", "")

    def describe(self) -> dict[str, Any]:
        """The registry, and which tag moves where."""
        return {
            **super().describe(),
            "repository": self.repository,
            "tag": self.tag,
            "to": self.to,
        }

    def claims(self) -> frozenset[str]:
        """The tag."""
        return frozenset({f"the tag {self.repository}:{self.tag} of {self.service.name}"})

    def precheck(self) -> None:
        """Both tags must be there, and name different images."""
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
        """The tag's digest is the other's."""
        return self._named(self._digests[1])

    def undo(self) -> None:
        """Put its own manifest back."""
        if self._before:
            self.service.put_manifest(self.repository, self.tag, self._before)

    def evidence_of_healing(self) -> str:
        """The tag's digest is its own."""
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
    parameters = (
        Parameter("repository", str, "", "the repository, such as app"),
        Parameter("tag", str, "", "a tag of the image"),
    )
    proof = "asked from elsewhere for tag and digest, it knows neither; healed: it knows both"

    def __init__(self, trial: Trial, service: Registry, *, repository: str, tag: str) -> None:
        super().__init__(trial, service)
        self.repository, self.tag = repository, tag
        self._lost = b""
        self._tags: list[str] = []
        self._digest = ""

    def describe(self) -> dict[str, Any]:
        """The registry, and the image."""
        return {**super().describe(), "repository": self.repository, "tag": self.tag}

    def claims(self) -> frozenset[str]:
        """The tag."""
        return frozenset({f"the tag {self.repository}:{self.tag} of {self.service.name}"})

    def precheck(self) -> None:
        """The image must be there."""
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
        """Neither the tag nor the digest is known."""
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
        """The tag has its digest again."""
        found = _manifest(self.service, self.repository, self.tag)
        if not found or found != self._digest:
            raise FaultError(f"{self.repository}:{self.tag} is {found or 'not there'}")
        return f"{self.repository}:{self.tag} is {found}"


class RegistryPasswordChanged(_RegistryFault):
    """The password is another one."""

    name = "registry-password-changed"
    summary = "A registry's password changes: who has the old one is refused."
    proof = "who asks from elsewhere with the old password is refused (401); healed: let in"
    excludes = ("the password",)

    def __init__(self, trial: Trial, service: Registry) -> None:
        super().__init__(trial, service)
        self._old = service.auth

    def precheck(self) -> None:
        """The password must be in force."""
        super().precheck()
        self._old = self.service.auth

    def apply(self) -> None:
        """Change it."""
        self.service.change_password(_PASSWORD)

    def evidence(self) -> str:
        """The old password is refused, the new one taken."""
        old = self.service.ask(auth=self._old, timeout=_PATIENCE).status
        new = self.service.ask(auth=self.service.auth, timeout=_PATIENCE).status
        if (old, new) != (401, 200):
            raise FaultError(f"the old password is answered by {old}, the new one by {new}")
        return f"{self.service.name} refuses the old password and takes the new one"

    def undo(self) -> None:
        """Make it the old one."""
        self.service.change_password(self._old["password"])


def _manifest(registry: Registry, repository: str, name: str) -> str:
    """The digest behind a tag or digest, asked for as a node would; "" if it is not known."""
    path = f"/v2/{repository}/manifests/{name}"
    reply = registry.ask(path, auth=registry.auth, timeout=_PATIENCE)
    if reply.status not in (200, 404):
        raise LabError(f"{registry.name} answers {reply.status or 'nothing'} to {path}")
    return reply.digest if reply.status == 200 else ""
