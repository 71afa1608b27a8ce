"""Ask a swarm's managers: who its members are, who leads, and when a state has come."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http.client import BAD_REQUEST
from typing import Any, Self, TypeVar

import requests
from docker import DockerClient
from docker.errors import APIError, DockerException

from harness.engine.versions import release_key
from harness.errors import HarnessError, LabError, SwarmError, WaitTimeout
from harness.lab import Lab, Node
from harness.trial import Journal
from harness.wait import (
    Elapsed,
    Moment,
    NotYet,
    expect_state,
    monotonic_moment,
    time_until,
    wait_for,
)

T = TypeVar("T")

#: Seconds between two looks at the list of members. To look is work for the managers: ten looks a
#: second double what an emulated guest has to do.
_LOOK = 0.4

#: Seconds for a manager to accept a write: a request waits for a leader for that long
#: (moby daemon/cluster, swarmRequestTimeout is 20 s), and it is tried twice.
ACCEPTED_WITHIN = 45.0

#: A manager's stream of events has what happens in its own copy of the swarm's state since
#: API 1.30, of 17.06 (moby#32421).
_SAYS_WHAT_IT_HAS = "17.06.0"


class NoAnswer(HarnessError):
    """An engine did not answer a request: ``kind`` is "timeout", "refused" (connection) or "api".

    ``status`` is the HTTP status of an answer of kind "api", else None.
    """

    def __init__(self, node: str, kind: str, message: str, *, status: int | None = None) -> None:
        super().__init__(f"{node} answers: {message}" if kind == "api" else f"{node}: {message}")
        self.node = node
        self.kind = kind
        self.status = status

    @property
    def invalid(self) -> bool:
        """Whether the request itself is at fault (status 400): no retry can help."""
        return self.status == BAD_REQUEST


def ask(node: Node, question: Callable[[Any], T], client: DockerClient | None = None) -> T:
    """Put a question to a node's Docker client; raise :class:`NoAnswer` when it does not answer.

    ``client`` is another client of the same node, with a timeout of its own.
    """
    try:
        return question(client or node.docker)
    except APIError as error:
        message = str(error.explanation or error)
        raise NoAnswer(node.name, "api", message, status=error.status_code) from error
    except requests.exceptions.Timeout as error:
        raise NoAnswer(node.name, "timeout", "no answer in time") from error
    except (requests.exceptions.RequestException, DockerException, LabError, OSError) as error:
        raise NoAnswer(node.name, "refused", _first_line(error)) from error


@dataclass(frozen=True)
class Member:
    """A node as a manager's API lists it. ``reachability`` is "" for workers.

    ``engine`` is the version that the node's agent last reported.
    """

    id: str
    name: str
    role: str
    state: str
    availability: str
    leader: bool
    reachability: str
    engine: str

    @classmethod
    def of(cls, attrs: Mapping[str, Any]) -> Self:
        """From an element of ``GET /nodes``."""
        manager = attrs.get("ManagerStatus") or {}
        return cls(
            id=attrs["ID"],
            name=attrs.get("Description", {}).get("Hostname", ""),
            role=attrs["Spec"]["Role"],
            state=attrs["Status"]["State"],
            availability=attrs["Spec"].get("Availability", "active"),
            leader=bool(manager.get("Leader")),
            reachability=manager.get("Reachability", ""),
            engine=attrs.get("Description", {}).get("Engine", {}).get("EngineVersion", ""),
        )


class SwarmClient:
    """A swarm as its managers' APIs show it. Members are given as :class:`~harness.lab.Node`."""

    def __init__(self, lab: Lab, *, journal: Journal | None = None, seed: int = 0) -> None:
        self.lab = lab
        self.journal = journal
        self.random = random.Random(seed)
        self._managers: set[str] = set()  # names, as last listed

    # -- asking it -----------------------------------------------------------------------------

    def members(self, by: Node | None = None) -> list[Member]:
        """Return the swarm's members, as listed by the manager ``by`` or the first that answers.

        Raise :class:`NoAnswer` when none does (there is no leader, say).
        """
        members = [Member.of(attrs) for attrs in self.ask(lambda api: api.api.nodes(), by=by)]
        self._managers = {member.name for member in members if member.role == "manager"}
        return members

    def ask(self, question: Any, by: Node | None = None) -> Any:
        """Put a question to a manager's Docker client and return its answer.

        Ask ``by`` only, or each running manager in turn until one answers. Raise
        :class:`NoAnswer` when none does, and at once when the request itself is invalid.
        """
        asked = [by] if by else [n for n in self._likely_managers() if n.up and n.dockerd.alive]
        refusals = []
        for node in asked:
            try:
                return ask(node, question)
            except NoAnswer as error:
                if error.invalid:
                    raise
                refusals.append(error)
        if not refusals:
            raise NoAnswer("the swarm", "refused", "no manager is running")
        if len(refusals) == 1:
            raise refusals[0]
        raise NoAnswer("the swarm", refusals[0].kind, "; ".join(r.what for r in refusals))

    def submit(
        self, write: Callable[[], object], *, what: str, within: float = ACCEPTED_WITHIN
    ) -> None:
        """Repeat a write until a manager accepts it, for at most ``within`` seconds.

        ``write`` reads the object's version and updates it, through :meth:`ask`; it fails when
        somebody else wrote in between. Raise :class:`SwarmError` with the last answer, at once when
        the API calls the request invalid; ``what`` names the change in it.
        """

        def accepted() -> bool | NotYet:
            try:
                write()
            except NoAnswer as error:
                if error.invalid:
                    raise SwarmError(f"{what} is refused: {error.what}") from error
                return NotYet(error.what)
            return True

        try:
            wait_for(accepted, state=what, within=within, every=0.5)
        except WaitTimeout as error:
            raise SwarmError(f"no manager accepted {what}: {error.last}") from error

    def member(self, node: Node, by: Node | None = None) -> Member:
        """Return a node's entry in the list of members; :class:`SwarmError` if it has none."""
        for member in self.members(by):
            if member.name == node.name:
                return member
        raise SwarmError(f"{node.name} is not in the swarm")

    @property
    def leader(self) -> Node:
        """The manager that leads now; :class:`SwarmError` when there is none."""
        for member in self.members():
            if member.leader:
                return self.lab.node(member.name)
        raise SwarmError("the swarm has no leader")

    @property
    def managers(self) -> list[Node]:
        """All managers, as the swarm lists them."""
        return [self.lab.node(m.name) for m in self.members() if m.role == "manager"]

    @property
    def followers(self) -> list[Node]:
        """The managers that do not lead."""
        return [
            self.lab.node(m.name) for m in self.members() if m.role == "manager" and not m.leader
        ]

    @property
    def workers(self) -> list[Node]:
        """All workers, as the swarm lists them."""
        return [self.lab.node(m.name) for m in self.members() if m.role == "worker"]

    def a_follower(self) -> Node:
        """Return a manager that does not lead; the seed decides which."""
        return self._one_of(self.followers, "follower")

    def a_worker(self) -> Node:
        """Return a worker; the seed decides which."""
        return self._one_of(self.workers, "worker")

    def minority(self, *, of: Sequence[Node] | None = None) -> list[Node]:
        """Return as many managers as the swarm can lose, (n - 1) // 2, chosen by the seed."""
        nodes = list(of) if of is not None else self.managers
        return self.random.sample(nodes, (len(nodes) - 1) // 2)

    def all_but(self, *out: Node) -> list[Node]:
        """Return every member but these."""
        names = {node.name for node in out}
        return [self.lab.node(m.name) for m in self.members() if m.name not in names]

    @property
    def quorum(self) -> int:
        """How many managers it takes to commit a write: n // 2 + 1."""
        return len(self.managers) // 2 + 1

    # -- waiting for it ------------------------------------------------------------------------

    def has_leader(self, *, other_than: Node | None = None) -> str | NotYet:
        """Return the leader's name by the first manager that answers, or why there is none yet."""
        try:
            members = self.members()
        except NoAnswer as error:
            return NotYet(error.what)
        for member in members:
            if member.leader:
                if other_than is not None and member.name == other_than.name:
                    return NotYet(f"{member.name} still leads")
                return member.name
        return NotYet("no manager leads")

    def wait_for_leader(self, *, other_than: Node | None = None, within: float = 30.0) -> Node:
        """Wait ``within`` seconds for a leader (other than one node), and return it."""
        name = expect_state(
            lambda: self.has_leader(other_than=other_than),
            state="a leader" + (f" other than {other_than.name}" if other_than else ""),
            within=within,
            every=_LOOK,
        )
        return self.lab.node(name)

    def wait_for_ready(self, nodes: Iterable[Node], *, within: float = 60.0) -> None:
        """Wait ``within`` seconds until all of these are ready members (managers: reachable)."""
        names = sorted({node.name for node in nodes})
        expect_state(
            lambda: self._ready(names),
            state=f"{', '.join(names)} to be ready",
            within=within,
            every=_LOOK,
        )

    def wait_for_raft(self, managers: Iterable[Node], *, within: float = 60.0) -> None:
        """Wait ``within`` seconds until all of these have what the swarm has written until now.

        A manager is listed as ready and reachable before it has the leader's log, which comes
        with the first message of raft that reaches it, up to 1 s after its join, and several after
        a restart. Until then it cannot be elected, keeps others from it by its candidacies
        (swarmkit asks for no votes beforehand), and if it is killed after a join, never takes part
        again: it knows nobody to answer (swarmkit#1360). So a secret is created and removed, and
        each manager's own events have to say so. Engines before 17.06 do not, and are not awaited.
        """
        since = release_key(_SAYS_WHAT_IT_HAS)
        awaited = [node for node in managers if release_key(node.engine.version) >= since]
        written = ""

        def all_have_it() -> bool | NotYet:
            nonlocal written
            try:
                written = written or self._write()
                late = [node.name for node in awaited if not has_removed(node, written)]
            except NoAnswer as error:
                return NotYet(error.what)
            return NotYet(f"{', '.join(late)} not yet") if late else True

        expect_state(
            all_have_it,
            state=f"{', '.join(sorted(node.name for node in awaited))} to have what was written",
            within=within,
            every=_LOOK,
        )

    def time_to_ready(
        self, nodes: Iterable[Node], *, within: float, since: Moment | None = None
    ) -> Elapsed:
        """Measure the time until all of these are ready members (managers: reachable).

        ``since`` is a fault or a monotonic reading (default: now).
        """
        names = sorted({node.name for node in nodes})
        return time_until(
            lambda: self._ready(names),
            state=f"{', '.join(names)} to be ready",
            within=within,
            every=_LOOK,
            since=since,
        )

    def _ready(self, names: Iterable[str]) -> bool | NotYet:
        try:
            members = {m.name: m for m in self.members()}
        except NoAnswer as error:
            return NotYet(error.what)
        late = []
        for name in names:
            member = members.get(name)
            if member is None:
                late.append(f"{name} not listed")
            elif member.state != "ready":
                late.append(f"{name} {member.state}")
            elif member.role == "manager" and member.reachability != "reachable":
                late.append(f"{name} {member.reachability or 'no manager yet'}")
        return NotYet(", ".join(late)) if late else True

    def time_to_write(self, *, within: float, since: Moment | None = None) -> Elapsed:
        """Measure the time until some manager accepts a write: a secret, created and removed.

        ``since`` is a fault or a monotonic reading (default: now).
        """

        def written() -> bool | NotYet:
            try:
                self._write()
            except NoAnswer as error:
                return NotYet(error.what)
            return True

        return time_until(written, state="a write", within=within, every=0.25, since=since)

    def observe(self, seconds: float, why: str, *, since: Moment | None = None) -> None:
        """Let the swarm go on for ``seconds`` after ``since`` (default: now) while it is watched.

        For windows of a fixed length, over which shares and counts are taken; ``why`` says what is
        looked for, for the journal. :meth:`harness.faults.Fault.hold` is the same for a fault. To
        reach a state, wait for it instead.
        """
        self.note("note", text=f"observing for {seconds:g} s: {why}")
        end = seconds + (time.monotonic() if since is None else monotonic_moment(since))
        time.sleep(max(0.0, end - time.monotonic()))

    def note(self, kind: str, **facts: Any) -> None:
        """Write an entry to the trial's journal, if the swarm is part of a trial."""
        if self.journal is not None:
            self.journal.write(kind, **facts)

    # -- within --------------------------------------------------------------------------------

    def _write(self) -> str:
        """Create a secret, remove it, and return its id; :class:`NoAnswer` if no manager does."""
        name = f"write-probe-{time.monotonic_ns()}"  # one may be left whose answer was lost
        made = str(self.ask(lambda api: api.api.create_secret(name, b"x"))["ID"])
        self.ask(lambda api: api.api.remove_secret(made))
        return made

    def _likely_managers(self) -> list[Node]:
        """Those of the last list of members, then those that were planned and may be again."""
        listed = [node for node in self.lab.nodes.values() if node.name in self._managers]
        planned = [node for node in self._planned("manager") if node not in listed]
        return [*listed, *planned]

    def _planned(self, role: str) -> list[Node]:
        return [node for node in self.lab.nodes.values() if node.planned_role == role]

    def _one_of(self, nodes: Sequence[Node], what: str) -> Node:
        if not nodes:
            raise SwarmError(f"the swarm has no {what}")
        return self.random.choice(nodes)


def has_removed(manager: Node, secret: str) -> bool:
    """Return whether a manager's events say that a secret, by its id, was removed."""
    filters = {"type": "secret", "event": "remove"}
    until = f"{time.time():.9f}"  # what is past is told, and the answer ends
    events = ask(
        manager,
        lambda api: list(api.api.events(since=0, until=until, filters=filters, decode=True)),
    )
    return any(event["Actor"]["ID"] == secret for event in events)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
