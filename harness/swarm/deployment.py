"""A workload on a swarm: created, converged, asked about its tasks, changed."""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from harness.errors import SwarmError, UsageError, WaitTimeout
from harness.lab import ClientHost, Node, probe_features
from harness.swarm import network_spec, service_spec
from harness.swarm.client import ACCEPTED_WITHIN, NoAnswer, SwarmClient
from harness.swarm.placement import may_have_task
from harness.swarm.releases import require
from harness.swarm.service_spec import Edit, Ids
from harness.swarm.spec_reader import read_service
from harness.swarm.task import Task, why_not_running
from harness.swarm.workload import Network, Service, Workload
from harness.wait import Deadline, Elapsed, Moment, NotYet, expect_state, time_until


class Deployment:
    """A workload that has been created on a swarm.

    ::

        web = swarm.deploy(balanced_web(replicas=4))
        web.scale("app", 6)
        took = web.time_to_running("app", within=60)
    """

    def __init__(self, swarm: SwarmClient, workload: Workload, *, mesh: bool) -> None:
        self.swarm = swarm
        self.workload = workload
        self.mesh = mesh
        self.path = workload.path
        self.services: dict[str, str] = {}
        self.ids = Ids()

    @property
    def networks(self) -> dict[str, str]:
        """The ids of its networks, by name."""
        return self.ids.networks

    @property
    def entries(self) -> Mapping[str, str]:
        """Where clients enter: node name -> base URL.

        By the nodes' planned roles, so that it can be said while no manager answers.
        """
        if self.workload.entry is None:
            return {}
        entry = self.workload.service(self.workload.entry)
        return {
            node.name: f"http://{node.address}:{entry.published}"
            for node in self.swarm.lab.nodes.values()
            if entry.may_run_on(node.planned_role)
        }

    def tasks(self, service: str | None = None, by: Node | None = None) -> list[Task]:
        """Return its tasks, ended ones included; :class:`NoAnswer` when no manager answers."""
        names = {id_: name for name, id_ in self.services.items()}
        nodes = {m.id: m.name for m in self.swarm.members(by)}
        listed = self.swarm.ask(lambda api: api.api.tasks(), by=by)
        tasks = [
            Task.of(attrs, service=names[attrs["ServiceID"]], nodes=nodes)
            for attrs in listed
            if attrs.get("ServiceID") in names
        ]
        wanted = [task for task in tasks if service is None or task.service == service]
        return sorted(wanted, key=lambda t: (t.service, t.slot or 0, t.created, t.id))

    def wanted(self, service: str, *, avoiding: Node | None = None) -> int:
        """Return how many tasks of a service should run now, none counted on ``avoiding``.

        Of a job it is how many of its runs should be under way, those that are done left out.
        """
        described = self.workload.service(service)
        whole = self._whole(described, avoiding=avoiding)
        if described.job is None:
            return whole
        left = max(0, whole - self._completed(self.tasks(service)))
        return left if described.replicas is None else min(left, described.job.at_once)

    def running(self, service: str, *, avoiding: Node | None = None) -> bool | NotYet:
        """Return whether a service has all its tasks running, none counted on ``avoiding``.

        One that runs on every node has them when each active member that meets its constraints
        has one; a job when as many runs are under way as may be at once, or none is left. A
        :class:`NotYet` says why the others do not run, with their own errors.
        """
        try:
            tasks = self.tasks(service)
            wanted = self.wanted(service, avoiding=avoiding)
        except NoAnswer as error:
            return NotYet(error.what)
        here = [t for t in tasks if t.running and not (avoiding and t.node == avoiding.name)]
        if len(here) >= wanted:
            return True
        return NotYet(f"{service}: {len(here)} of {wanted} running; {why_not_running(tasks)}")

    def completed(self, service: str) -> bool | NotYet:
        """Return whether a job is done: as many tasks have completed as it asks for.

        :class:`UsageError` for a service that is no job.
        """
        described = self.workload.service(service)
        if described.job is None:
            raise UsageError(f"{service} is no job: it runs, and is never completed")
        try:
            tasks, whole = self.tasks(service), self._whole(described)
        except NoAnswer as error:
            return NotYet(error.what)
        if (done := self._completed(tasks)) >= whole:
            return True
        return NotYet(f"{service}: {done} of {whole} completed; {why_not_running(tasks)}")

    def time_to_completed(
        self, service: str, *, within: float, since: Moment | None = None
    ) -> Elapsed:
        """Measure the time until a job is :meth:`completed`.

        ``since`` is a fault or a monotonic reading (default: now).
        """
        return time_until(
            partial(self.completed, service),
            state=f"{service} to be completed",
            within=within,
            every=0.5,
            since=since,
        )

    def wait_completed(self, service: str, within: float) -> None:
        """Wait ``within`` seconds until a job is :meth:`completed`."""
        expect_state(
            partial(self.completed, service),
            state=f"{service} to be completed",
            within=within,
            every=0.5,
        )

    def _whole(self, described: Service, *, avoiding: Node | None = None) -> int:
        """How many tasks a service has in all: of a job, how many are to complete."""
        if described.replicas == 0:
            return 0
        if described.replicas is not None and not service_spec.is_global(described, mesh=self.mesh):
            return described.job.completions if described.job else described.replicas
        nodes = self.swarm.ask(lambda api: api.api.nodes())
        avoided = avoiding.name if avoiding else None
        return sum(
            may_have_task(attrs, described.placement)
            for attrs in nodes
            if (attrs.get("Description") or {}).get("Hostname") != avoided
        )

    @staticmethod
    def _completed(tasks: Iterable[Task]) -> int:
        """Count the runs of a job that are done: a slot or a node counts once."""
        return len({(t.slot or t.node) for t in tasks if t.state == "complete"})

    def time_to_running(
        self,
        service: str,
        *,
        within: float,
        avoiding: Node | None = None,
        since: Moment | None = None,
    ) -> Elapsed:
        """Measure the time until a service has all its tasks :meth:`running`.

        ``since`` is a fault or a monotonic reading (default: now).
        """
        return time_until(
            partial(self.running, service, avoiding=avoiding),
            state=f"all tasks of {service} to run",
            within=within,
            every=0.5,
            since=since,
        )

    def wait_running(self, within: float) -> None:
        """Wait ``within`` seconds until every service has all its tasks running."""
        deadline = Deadline(within)
        for name in self.services:
            expect_state(
                partial(self.running, name),
                state=f"all tasks of {name} to run",
                within=deadline.remaining,
                every=0.5,
            )

    def wait_serving(self, client: ClientHost, within: float) -> None:
        """Wait ``within`` seconds until every entry answers 200, asked from a client host."""
        deadline = Deadline(within)
        for name, url in self.entries.items():
            expect_state(
                partial(client.network.call, partial(_answers, url, self.path)),
                state=f"{self.workload.name} to answer at {name} ({url})",
                within=deadline.remaining,
                every=0.2,
            )

    # -- changing it ---------------------------------------------------------------------------

    def change(self, service: str, edit: Edit, *, within: float = ACCEPTED_WITHIN) -> None:
        """Edit a service's spec in place, in the API's form, and submit it.

        Retry for ``within`` seconds when somebody else wrote in between or no manager answers,
        then raise :class:`SwarmError` with the last answer; a spec that the API calls invalid is
        refused at once. What the deployment says of itself (replicas, entries) follows.
        """
        id_ = self._id_of(service)

        def write() -> None:
            found = self.swarm.ask(lambda api: api.api.inspect_service(id_))
            spec = found["Spec"]
            edit(spec)
            workload = self._workload_with(service, spec)
            self._update(id_, found["Version"]["Index"], spec)
            self.workload = workload

        self.swarm.submit(write, what=f"the change of {service}", within=within)

    def redeploy(self, service: str) -> None:
        """Replace all of a service's tasks, the spec unchanged (``service update --force``)."""
        self.change(service, service_spec.redeployed)

    def scale(self, service: str, replicas: int) -> None:
        """Give a service another number of replicas; it is not waited for.

        One that runs on every node can only be scaled to 0 and back; else :class:`UsageError`.
        """
        before = self.workload.service(service)
        wanted = replace(before, replicas=replicas)  # refuses -1
        self.change(service, service_spec.scaled(before, replicas))
        if before.replicas is not None and service_spec.is_global(before, mesh=self.mesh):
            after = self.workload.service(service)
            self.workload = self.workload.with_service(replace(after, replicas=wanted.replicas))

    def publish(self, service: str, port: int | None) -> None:
        """Publish a service by another port of the nodes, or by none."""
        wanted = replace(self.workload.service(service), published=port)  # refuses port 0
        if port is not None and wanted.port is None:
            raise UsageError(f"service {service} has no port to publish")
        self.change(service, service_spec.published(wanted, port, mesh=self.mesh))

    def remove(self, service: str) -> None:
        """Remove a service; its tasks end on their own. It stays in the description."""
        id_ = self._id_of(service)
        self.swarm.ask(lambda api: api.api.remove_service(id_))
        del self.services[service]

    def create_again(self, service: str) -> None:
        """Create a service that was removed, as it is described now and on the same networks."""
        described = self.workload.service(service)
        if service in self.services:
            raise UsageError(f"the service {service} is there: remove it first")
        self.services[service] = self._create(described)

    def update_state(self, service: str) -> tuple[str, str]:
        """Return state and message of a service's last update ("" before it has begun)."""
        id_ = self._id_of(service)
        found = self.swarm.ask(lambda api: api.api.inspect_service(id_))
        status = found.get("UpdateStatus") or {}
        return str(status.get("State", "")), str(status.get("Message", ""))

    def time_to_updated(
        self, service: str, *, within: float, since: Moment | None = None
    ) -> Elapsed:
        """Measure the time until the orchestrator calls a service's last update completed.

        For changes that replace tasks; :meth:`scale` starts no update. ``since`` is a fault
        or a monotonic reading (default: now). An update that is paused or rolled back is never
        completed: the answer is then given at once, as not reached in ``within`` seconds.
        """
        ended = ""

        def updated() -> bool | NotYet:
            nonlocal ended
            try:
                state, message = self.update_state(service)
            except NoAnswer as error:
                return NotYet(error.what)
            said = f"the update is {state or 'new'}: {message}"
            ended = said if state == "paused" or state.startswith("rollback") else ""
            return state == "completed" or bool(ended) or NotYet(said)

        state = f"the update of {service}"
        waited = time_until(updated, state=state, within=within, every=0.5, since=since)
        return Elapsed(max(within, waited.seconds), reached=False, last=ended) if ended else waited

    def read_back(self, service: str) -> Service:
        """Return a service's description as the API has it now, every port in ``ports``."""
        id_ = self._id_of(service)
        found = self.swarm.ask(lambda api: api.api.inspect_service(id_))
        return read_service(found["Spec"], {id_: name for name, id_ in self.networks.items()})

    def read_network(self, name: str) -> Network:
        """Return a network's description as the API has it now, the subnet it was given too."""
        id_ = self.networks[name]
        return network_spec.described(self.swarm.ask(lambda api: api.api.inspect_network(id_)))

    # -- within --------------------------------------------------------------------------------

    def _create(self, service: Service) -> str:
        engines = [node.engine.version for node in self.swarm.lab.nodes.values()]
        arguments = service_spec.creation(service, self.ids, mesh=self.mesh, engines=engines)
        return _created(self.swarm, "create_service", **arguments)

    def _update(self, id_: str, version: int, spec: Mapping[str, Any]) -> None:
        self.swarm.ask(
            lambda api: api.api.update_service(
                id_,
                version,
                task_template=spec["TaskTemplate"],
                name=spec["Name"],
                labels=spec.get("Labels"),
                mode=spec.get("Mode"),
                update_config=spec.get("UpdateConfig"),
                endpoint_spec=spec.get("EndpointSpec"),
                rollback_config=spec.get("RollbackConfig"),
            )
        )

    def _workload_with(self, service: str, spec: Mapping[str, Any]) -> Workload:
        before = self.workload.service(service)
        return self.workload.with_service(service_spec.described(before, spec, mesh=self.mesh))

    def _id_of(self, service: str) -> str:
        self.workload.service(service)  # a name it never had is the caller's mistake
        if service not in self.services:
            raise SwarmError(f"the service {service} has been removed")
        return self.services[service]


def create(swarm: SwarmClient, workload: Workload) -> Deployment:
    """Create networks, configs, secrets and services, and return at once.

    :class:`NoAnswer` if one is refused, :class:`UsageError` if a node's engine is too old for it.
    """
    engines = {node.name: node.engine.version for node in swarm.lab.nodes.values()}
    for service in workload.services:
        require(service, engines)
    made = Deployment(swarm, workload, mesh=probe_features().mesh)
    for network in workload.overlays:
        made.ids.networks[network.name] = network_spec.create(swarm, network)
    for name, data in workload.configs.items():
        made.ids.configs[name] = _created(swarm, "create_config", name, data)
    for name, data in workload.secrets.items():
        made.ids.secrets[name] = _created(swarm, "create_secret", name, data)
    for service in workload.services:
        made.services[service.name] = made._create(service)
    return made


def serve(made: Deployment, *, within: float) -> None:
    """Wait ``within`` seconds until all tasks run and every entry answers.

    Raise :class:`SwarmError` with what was missing.
    """
    deadline, workload = Deadline(within), made.workload
    try:
        made.wait_running(deadline.remaining)
        if workload.entry is not None:
            made.wait_serving(made.swarm.lab.client_host(), deadline.remaining)
        _note(made)
    except (NoAnswer, WaitTimeout) as error:
        raise did_not_serve(workload, error) from error


def did_not_serve(workload: Workload, error: Exception) -> SwarmError:
    """Return the error of a workload that was not accepted, or did not come to serve."""
    return SwarmError(f"the workload {workload.name} did not come to serve: {error}")


def find(swarm: SwarmClient, workload: Workload) -> Deployment:
    """Return a workload that is on the swarm already, by the names of what it consists of.

    Raise :class:`SwarmError` for what is not there.
    """
    made = Deployment(swarm, workload, mesh=probe_features().mesh)
    try:
        networks = {each["Name"]: each["Id"] for each in swarm.ask(lambda api: api.api.networks())}
        made.ids.networks.update((each.name, networks[each.name]) for each in workload.overlays)
        names = [service.name for service in workload.services]
        for ids, listing, wanted in (
            (made.services, "services", names),
            (made.ids.configs, "configs", workload.configs),
            (made.ids.secrets, "secrets", workload.secrets),
        ):
            if wanted:
                ids.update(_ids_of(swarm, listing, wanted))
        _note(made)
    except KeyError as error:
        raise SwarmError(f"the swarm has no {error} of the workload {workload.name}") from error
    except NoAnswer as error:
        raise SwarmError(f"the workload {workload.name} cannot be found: {error}") from error
    return made


def _ids_of(swarm: SwarmClient, listing: str, names: Iterable[str]) -> dict[str, str]:
    listed = swarm.ask(lambda api: getattr(api.api, listing)())
    ids = {each["Spec"]["Name"]: str(each["ID"]) for each in listed}
    return {name: ids[name] for name in names}


def _note(made: Deployment) -> None:
    """Record that a workload serves."""
    made.swarm.note(
        "workload.deployed",
        workload=made.workload.name,
        services={service.name: made.wanted(service.name) for service in made.workload.services},
        entries=dict(made.entries),
        mesh=made.mesh,
    )


def _created(swarm: SwarmClient, request: str, *args: Any, **kwargs: Any) -> str:
    """Have the low-level client create something, and return its id."""
    return str(swarm.ask(lambda api: getattr(api.api, request)(*args, **kwargs))["ID"])


def _answers(url: str, path: str) -> bool | NotYet:
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=3)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return NotYet(f"{type(error).__name__}: {error}")
    finally:
        connection.close()
    return True if status == http.HTTPStatus.OK else NotYet(f"it answers {status}")
