"""Membership: what an operator does to a swarm's members, by the swarm's own API.

These act on a swarm and name the member: by a node's name, or by a role such as ``leader`` or
``worker``, which is looked up when the fault is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from harness.errors import FaultError, UsageError
from harness.faults.fault import Fault
from harness.faults.parameter import NAME, Named, parameter, state, target
from harness.lab import Node
from harness.swarm import NoAnswer, Swarm, ask
from harness.wait import NotYet, wait_for

#: Seconds for a member to notice a change: it gets a new role with its next
#: assignment and then fetches a certificate.
_NOTICED_WITHIN = 60.0

#: Seconds for a member to be back as it was.
_BACK_WITHIN = 90.0

#: Seconds for all members to have certificates of a new root: they are asked one after another,
#: and each renews by itself (swarmkit ca/reconciler.go).
_ROTATED_WITHIN = 120.0

_LOOK = 0.4


def _is_node(value: Any) -> bool:
    """Ask for one thing: isinstance would ask every property, of a node that may be off."""
    return hasattr(value, "planned_role")


_MEMBER = Named[Node | str](NAME.read, _is_node)


class MemberFault(Fault):
    """A change of one member of a swarm."""

    acts_on = "swarm"
    excludes = ("membership",)

    swarm: Swarm = target(kw_only=False)
    node: Node | str = parameter(
        _MEMBER, "the member: its name, or a role such as worker or leader", kw_only=False
    )
    chosen: str = state("")
    """The member's name: it stays the same when roles change."""

    def __post_init__(self) -> None:
        from harness.faults.targets import Targets

        super().__post_init__()
        text = self.node if isinstance(self.node, str) else self.node.name
        found = Targets(self.swarm.lab, self.swarm).nodes(text)
        if len(found) != 1:
            raise UsageError(f"{text!r} names {len(found)} members: {self.name} takes one")
        self.chosen = found[0].name

    @property
    def member(self) -> Node:
        """The member."""
        return self.swarm.lab.node(self.chosen)

    @property
    def target_name(self) -> str:
        """The member's name."""
        return self.chosen

    def describe(self) -> dict[str, Any]:
        """Return the member, as the target."""
        return {"target": self.chosen}

    def text_form(self) -> tuple[str, dict[str, str]]:
        """Return the swarm, and the member by its name."""
        swarm, parameters = super().text_form()
        return swarm, {**parameters, "node": self.chosen}

    def _info(self) -> Mapping[str, Any]:
        """What the node reports about its own membership."""
        info: Mapping[str, Any] = ask(self.member, lambda api: api.info())["Swarm"]
        return info

    def _restore(self) -> None:
        if not self.member.up or not self.member.dockerd.alive:
            self.member.start()


class NodeDrained(MemberFault):
    """A member is set to "drain": its tasks are shut down and started elsewhere."""

    name = "node-drained"
    summary = "A member is drained: its tasks are shut down and started elsewhere."
    proof = "another view lists it as drain, with no task scheduled on it; healed: as active"

    def precheck(self) -> None:
        """Require an active member."""
        now = self.swarm.member(self.member).availability
        if now != "active":
            raise FaultError(f"{self.member.name} is set to {now} already")

    def apply(self) -> None:
        """Drain it."""
        self.swarm.set_availability(self.member, "drain")

    def evidence(self) -> str:
        """Check that it is listed as drain, and that no task is scheduled on it."""
        self._wait_listed("drain")

        def none_scheduled() -> bool | NotYet:
            try:
                member = self.swarm.member(self.member)
                filters = {"node": member.id, "desired-state": "running"}
                tasks = self.swarm.ask(lambda api: api.api.tasks(filters=filters))
            except NoAnswer as error:
                return NotYet(error.what)
            return NotYet(f"{len(tasks)} tasks are scheduled on it") if tasks else True

        wait_for(
            none_scheduled,
            state=f"no task to be scheduled on {self.member.name}",
            within=_NOTICED_WITHIN,
            every=_LOOK,
        )
        return f"{self.member.name} is listed as drain, no task is scheduled on it"

    def undo(self) -> None:
        """Make it active, up or down; tasks do not come back by themselves."""
        self.swarm.set_availability(self.member, "active")

    def evidence_of_healing(self) -> str:
        """Check that it is listed as active."""
        self._wait_listed("active")
        return f"{self.member.name} is listed as active"

    def _wait_listed(self, availability: str) -> None:
        def listed() -> bool | NotYet:
            try:
                now = self.swarm.member(self.member).availability
            except NoAnswer as error:
                return NotYet(error.what)
            return now == availability or NotYet(f"it is listed as {now}")

        wait_for(
            listed,
            state=f"{self.member.name} to be listed as {availability}",
            within=_NOTICED_WITHIN,
            every=_LOOK,
        )


class _RoleChanged(MemberFault):
    """A member gets another role; it notices, gets another certificate, and changes."""

    proof = "the member itself reports the new role; healed: it has its role again"
    _before: ClassVar = ""
    _after: ClassVar = ""

    def precheck(self) -> None:
        """Require a ready member with the role that it will lose."""
        member = self.swarm.member(self.member)
        if member.role != self._before or member.state != "ready":
            raise FaultError(
                f"{self.member.name} is a {member.role} and {member.state}, "
                f"{self.name} needs a {self._before} that is ready"
            )
        if self._before == "manager" and len(self.swarm.managers) == 1:
            raise FaultError(f"{self.member.name} is the only manager: it cannot be demoted")

    def apply(self) -> None:
        """Change its role."""
        self.swarm.set_role(self.member, self._after)

    def evidence(self) -> str:
        """Check that it has noticed."""
        self._wait_noticed(self._after)
        return f"{self.member.name} reports that it is a {self._after}"

    def undo(self) -> None:
        """Give its role back."""
        self._restore()
        self.swarm.set_role(self.member, self._before)

    def evidence_of_healing(self) -> str:
        """Check that it has noticed, and is listed as ready."""
        self._wait_noticed(self._before)
        self.swarm.wait_for_ready([self.member], within=_BACK_WITHIN)
        return f"{self.member.name} reports that it is a {self._before}, and is ready"

    def _wait_noticed(self, role: str) -> None:
        def noticed() -> bool | NotYet:
            try:
                manages = bool(self._info().get("ControlAvailable"))
            except NoAnswer as error:
                return NotYet(error.what)
            now = "manager" if manages else "worker"
            return now == role or NotYet(f"it reports that it is a {now}")

        wait_for(
            noticed,
            state=f"{self.member.name} to know that it is a {role}",
            within=_NOTICED_WITHIN,
            every=_LOOK,
        )


class NodeDemoted(_RoleChanged):
    """A manager is demoted to a worker; when it leads, another is elected."""

    name = "node-demoted"
    summary = "A manager is demoted to a worker; when it leads, another manager takes over."
    _before, _after = "manager", "worker"


class NodePromoted(_RoleChanged):
    """A worker is promoted to a manager: raft has one more member."""

    name = "node-promoted"
    summary = "A worker is promoted to a manager: raft has one more member."
    _before, _after = "worker", "manager"


class NodeLeft(MemberFault):
    """A node leaves the swarm by force, a manager without being demoted before.

    Healed by removing it from the list and having it join again, with a new id.
    """

    name = "node-left"
    summary = "A node leaves by force (a manager is not demoted before), and joins again."
    proof = "the node reports that it is in no swarm; healed: it is a ready member"
    needed_to_heal = ("role",)

    role: str = state("")

    def precheck(self) -> None:
        """Require a ready member, and that the others have a majority without it."""
        member = self.swarm.member(self.member)
        if member.state != "ready":
            raise FaultError(f"{self.member.name} is {member.state}: it cannot leave")
        self.role = member.role
        if member.role == "worker":
            return
        members = self.swarm.members()
        rest = sum(m.reachability == "reachable" for m in members if m.name != self.member.name)
        if rest < (needed := self.swarm.quorum):
            raise FaultError(
                f"without {self.member.name} only {rest} managers are left, {needed} must be: "
                "it could not join again"
            )

    def apply(self) -> None:
        """Leave."""
        self.swarm.leave(self.member)

    def evidence(self) -> str:
        """Check that it is in no swarm."""
        if (state := self._info()["LocalNodeState"]) != "inactive":
            raise FaultError(f"{self.member.name} reports that it is {state} in a swarm")
        return f"{self.member.name} reports that it is in no swarm"

    def undo(self) -> None:
        """Remove it from the list and have it join again in its role."""
        self._restore()
        if self._info()["LocalNodeState"] != "inactive":
            return
        if self.role == "manager":
            self.swarm.set_role(self.member, "worker")  # a manager cannot be removed
        wait_for(
            self._forgotten,
            state=f"{self.member.name} to be removed from the list",
            within=_NOTICED_WITHIN,
            every=_LOOK,
        )
        through = next(node for node in self.swarm.managers if node is not self.member)
        tokens = self.swarm.ask(lambda api: api.api.inspect_swarm(), by=through)["JoinTokens"]
        self.swarm.join(self.member, token=tokens[self.role.capitalize()], through=through)

    def evidence_of_healing(self) -> str:
        """Check that it is listed as ready."""
        self.swarm.wait_for_ready([self.member], within=_BACK_WITHIN)
        return f"{self.member.name} is a ready member"

    def _forgotten(self) -> bool | NotYet:
        try:
            self.swarm.forget(self.member)
            listed = [m for m in self.swarm.members() if m.name == self.member.name]
        except NoAnswer as error:  # raft has not let go of a manager yet
            return NotYet(error.what)
        return NotYet("it is still listed") if listed else True


class RootRotated(Fault):
    """The swarm gets a new root certificate, and with it every member a new certificate."""

    name = "root-rotated"
    summary = "The swarm's root certificate is rotated: every member gets a new certificate."
    acts_on = "swarm"
    proof = "the API reports a rotation or another root; healed: all members trust one root"
    excludes = ("membership",)
    needed_to_heal = ("root",)

    swarm: Swarm = target(kw_only=False)
    root: str = state("")
    """The root certificate before the rotation."""

    @property
    def target_name(self) -> str:
        """The swarm: there is one."""
        return "the swarm"

    def precheck(self) -> None:
        """Require an engine that can do it (17.06), and no rotation under way."""
        now = self._inspect()
        if "TLSInfo" not in now:
            raise FaultError("rotating the root needs Docker 17.06 or later")
        if now.get("RootRotationInProgress"):
            raise FaultError("a rotation of the root is under way already")
        self.root = now["TLSInfo"]["TrustRoot"]

    def apply(self) -> None:
        """Request the rotation."""

        def rotated() -> bool | NotYet:
            try:
                now = self._inspect()
                spec = now["Spec"]
                authority = spec.setdefault("CAConfig", {})
                authority["ForceRotate"] = authority.get("ForceRotate", 0) + 1
                self.swarm.ask(lambda api: api.api.update_swarm(now["Version"]["Index"], spec))
            except NoAnswer as error:  # "update out of sequence": another client wrote in between
                return NotYet(error.what)
            return True

        wait_for(rotated, state="the rotation to be accepted", within=_NOTICED_WITHIN, every=_LOOK)

    def evidence(self) -> str:
        """Check that it is under way, or done."""

        def begun() -> str | NotYet:
            try:
                now = self._inspect()
            except NoAnswer as error:
                return NotYet(error.what)
            if now.get("RootRotationInProgress"):
                return "a rotation of the root is under way"
            if now["TLSInfo"]["TrustRoot"] != self.root:
                return "the root is another one"
            return NotYet("the root is the old one, no rotation is under way")

        return wait_for(begun, state="a rotation", within=_NOTICED_WITHIN, every=_LOOK)

    def undo(self) -> None:
        """Do nothing: the old root never comes back. The rotation has to end."""

    def evidence_of_healing(self) -> str:
        """Check that every member has a certificate of the new root."""

        def done() -> int | NotYet:
            try:
                now = self._inspect()
                nodes = self.swarm.ask(lambda api: api.api.nodes())
            except NoAnswer as error:
                return NotYet(error.what)
            root = now["TLSInfo"]["TrustRoot"]
            late = [
                attrs["Description"].get("Hostname", attrs["ID"])
                for attrs in nodes
                if attrs["Description"].get("TLSInfo", {}).get("TrustRoot") != root
            ]
            if now.get("RootRotationInProgress") or late:
                return NotYet(f"still without: {', '.join(late) or 'no listed member'}")
            if root == self.root:
                return NotYet("the root is the old one")
            return len(nodes)

        count = wait_for(
            done, state="certificates of the new root", within=_ROTATED_WITHIN, every=_LOOK
        )
        return f"{count} members trust the new root"

    def _inspect(self) -> dict[str, Any]:
        attrs: dict[str, Any] = self.swarm.ask(lambda api: api.api.inspect_swarm())
        return attrs
