"""Changes to services that run: scaled, redeployed, published elsewhere, or anything of the spec.

Each returns when a manager has taken the change; :func:`time_to_updated` tells how long the swarm
takes to carry it out. What a deployment says of itself (replicas, entries) follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from harness.errors import SwarmError, UsageError, WaitTimeout
from harness.swarm.client import NoAnswer
from harness.swarm.deployment import Deployment
from harness.swarm.workload import Service
from harness.wait import Elapsed, NotYet, time_until, wait_for

#: Seconds for a manager to take a change: a request waits for a leader for that long
#: (moby daemon/cluster, swarmRequestTimeout is 20 s), and it is tried twice.
_TAKEN_WITHIN = 45.0

#: What no node has: a service that runs on every node or on none (host-mode ports, where there is
#: no routing mesh) is scaled to 0 by asking for it.
_NOWHERE = "node.labels.swarm-chaos.nowhere==true"

Edit = Callable[[dict[str, Any]], None]


def change(made: Deployment, service: str, edit: Edit, *, within: float = _TAKEN_WITHIN) -> None:
    """Edit a service's spec, as the API has it, in place, and hand it in.

    Tried again when somebody wrote in between or no manager answers, for ``within`` seconds; then
    :class:`SwarmError` with the last answer.
    """
    id_ = _id_of(made, service)

    def taken() -> bool | NotYet:
        try:
            found = made.swarm.ask(lambda api: api.api.inspect_service(id_))
            spec = found["Spec"]
            edit(spec)
            made.swarm.ask(
                lambda api: api.api.update_service(
                    id_,
                    found["Version"]["Index"],
                    task_template=spec["TaskTemplate"],
                    name=spec["Name"],
                    labels=spec.get("Labels"),
                    mode=spec.get("Mode"),
                    update_config=spec.get("UpdateConfig"),
                    endpoint_spec=spec.get("EndpointSpec"),
                    rollback_config=spec.get("RollbackConfig"),
                )
            )
        except NoAnswer as error:
            return NotYet(error.what)
        return True

    try:
        wait_for(taken, state=f"the change of {service}", within=within, every=0.5)
    except WaitTimeout as error:
        raise SwarmError(f"no manager took the change of {service}: {error.last}") from error


def redeploy(made: Deployment, service: str) -> None:
    """Replace all tasks of a service by new ones of the same spec (``service update --force``)."""

    def edit(spec: dict[str, Any]) -> None:
        template = spec["TaskTemplate"]
        template["ForceUpdate"] = template.get("ForceUpdate", 0) + 1

    change(made, service, edit)


def scale(made: Deployment, service: str, replicas: int) -> None:
    """Give a service another number of replicas.

    One that runs on every node can only be scaled to 0 and back; :class:`UsageError` otherwise.
    """
    if replicas < 0:
        raise UsageError(f"service {service}: {replicas} replicas cannot be")
    description = made.workload.service(service)

    def edit(spec: dict[str, Any]) -> None:
        if "Replicated" in spec["Mode"]:
            spec["Mode"]["Replicated"]["Replicas"] = replicas
            return
        if description.replicas is None and replicas:
            raise UsageError(f"{service} runs on every node: it has no number of replicas")
        placement = spec["TaskTemplate"].setdefault("Placement", {})
        others = [c for c in placement.get("Constraints") or [] if c != _NOWHERE]
        placement["Constraints"] = others if replicas else [*others, _NOWHERE]

    change(made, service, edit)
    _redescribe(made, replace(description, replicas=replicas))


def publish(made: Deployment, service: str, port: int | None) -> None:
    """Publish a service by another port of the nodes, or by none."""
    description = made.workload.service(service)
    if port is not None and description.port is None:
        raise UsageError(f"service {service} has no port to publish")
    redescribed = replace(description, published=port)  # refuses a port that is none

    def edit(spec: dict[str, Any]) -> None:
        ports = [
            {
                "Protocol": "tcp",
                "TargetPort": description.port,
                "PublishedPort": port,
                "PublishMode": made.publish_mode(description),
            }
        ]
        spec["EndpointSpec"] = {**(spec.get("EndpointSpec") or {}), "Ports": ports if port else []}

    change(made, service, edit)
    _redescribe(made, redescribed)


def remove(made: Deployment, service: str) -> None:
    """Remove a service; its tasks end on their own. It stays in the description."""
    made.swarm.ask(lambda api: api.api.remove_service(_id_of(made, service)))
    del made.services[service]


def update_state(made: Deployment, service: str) -> tuple[str, str]:
    """State and message of a service's last update ("" before the orchestrator has begun)."""
    id_ = _id_of(made, service)
    found = made.swarm.ask(lambda api: api.api.inspect_service(id_))
    status = found.get("UpdateStatus") or {}
    return str(status.get("State", "")), str(status.get("Message", ""))


def time_to_updated(
    made: Deployment, service: str, *, within: float, since: float | None = None
) -> Elapsed:
    """How long until the orchestrator calls a service's last update completed.

    For changes that replace tasks; :func:`scale` starts no update. ``since`` is a reading of the
    monotonic clock (default: now).
    """

    def updated() -> bool | NotYet:
        try:
            state, message = update_state(made, service)
        except NoAnswer as error:
            return NotYet(error.what)
        return state == "completed" or NotYet(f"the update is {state or 'new'}: {message}")

    return time_until(
        updated, state=f"the update of {service}", within=within, every=0.5, since=since
    )


def _id_of(made: Deployment, service: str) -> str:
    made.workload.service(service)  # a name it never had is the caller's mistake
    if service not in made.services:
        raise SwarmError(f"the service {service} has been removed")
    return made.services[service]


def _redescribe(made: Deployment, service: Service) -> None:
    services = tuple(
        service if each.name == service.name else each for each in made.workload.services
    )
    made.workload = replace(made.workload, services=services)
