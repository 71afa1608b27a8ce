"""The docker command on a node, as an operator types it there, and what it has made."""

from __future__ import annotations

from harness.errors import SwarmError
from harness.lab import Node, probe_features
from harness.lab.dockerd import SOCKET
from harness.swarm import Deployment, Service, Swarm, Workload

#: Seconds of real patience: `stack deploy` asks the registry for every image first.
_ENDS_WITHIN = 120.0


def docker(node: Node, *words: str, stdin: str = "") -> str:
    """Run ``docker WORDS`` on a node against its own engine, with root's logins.

    Return what it printed, its warnings too. Raise :class:`SwarmError` with that when it does not
    end with 0.
    """
    done = node.run(
        ["docker", "--host", f"unix://{SOCKET}", *words],
        stdin=stdin.encode(),
        timeout=_ENDS_WITHIN,
        check=False,
    )
    said = f"{done.text}\n{done.stderr.decode(errors='replace')}".strip()
    if done.code:
        raise SwarmError(f"`docker {' '.join(words)}` on {node.name} failed: {said}")
    return said


def log_in(node: Node, registry: str, user: str, password: str) -> None:
    """Log in to a registry (``host:port``) on a node; its root's docker command uses it."""
    docker(node, "login", f"--username={user}", "--password-stdin", registry, stdin=password)


def adopt(swarm: Swarm, service: Service, *, name: str | None = None) -> Deployment:
    """Return a service that the docker command has made (as ``name``) as a deployment.

    ``service`` is what the deployment then says of it. Raise :class:`~harness.swarm.NoAnswer` if
    there is none of that name.
    """
    made = Deployment(swarm, Workload(service.name, (), (service,)), mesh=probe_features().mesh)
    found = swarm.ask(lambda api: api.api.inspect_service(name or service.name))
    made.services[service.name] = str(found["ID"])
    return made
