"""Stacks: a compose file that Docker's own command line deploys, on a manager's node."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import SwarmError, UsageError
from harness.lab import probe_features
from harness.swarm.client import SwarmClient
from harness.swarm.compose_reader import read_workload
from harness.swarm.compose_writer import compose_text
from harness.swarm.deployment import Deployment
from harness.swarm.releases import refuse_too_old, require
from harness.swarm.workload import Network, Service, Workload

_NAMESPACE = "com.docker.stack.namespace"
_COMPOSE = "compose.yml"

#: The engine of 20.10 has jobs; its command line refuses a stack that has them (tried: 20.10.24;
#: 26.1.5 takes it).
_JOBS = ("a job in a compose file", "23.0.0")

#: Seconds for the command line to hand everything over; it waits for no task.
_DEPLOYED_WITHIN = 120.0


@dataclass(frozen=True)
class Stack:
    """A compose file, what it describes, and the files beside it.

    ``options`` are more flags of ``docker stack deploy``.
    """

    name: str
    text: str
    workload: Workload
    files: Mapping[str, bytes]
    options: tuple[str, ...] = ()


def stack(path: str | Path, *, name: str | None = None, options: Sequence[str] = ()) -> Stack:
    """Return the stack of a compose file, called ``name`` or as its folder.

    ::

        web = swarm.deploy(stack(Path(__file__).with_name("web.yml"), name="web"))
        same = swarm.deploy(stack("web.yml").workload)  # by the API, without the command line

    Raise :class:`UsageError` with file and line for what is wrong with it.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the compose file {path} cannot be read: {error}") from None
    called = name or path.resolve().parent.name
    files: dict[str, bytes] = {}

    def contents(beside: str) -> bytes:
        inner = Path(beside)
        if inner.is_absolute() or ".." in inner.parts:
            raise OSError(0, "it has to lie in the compose file's folder or below")
        files[beside] = (path.parent / inner).read_bytes()
        return files[beside]

    workload = read_workload(called, text, str(path), contents)
    return Stack(called, text, workload, files, tuple(options))


def as_stack(workload: Workload, *, options: Sequence[str] = ()) -> Stack:
    """Return a workload as a stack, so that the command line deploys it.

    Raise :class:`UsageError` for what no compose file can say.
    """
    files = {
        **{f"configs/{name}": data for name, data in workload.configs.items()},
        **{f"secrets/{name}": data for name, data in workload.secrets.items()},
    }
    return Stack(workload.name, compose_text(workload), workload, files, tuple(options))


class StackDeployment(Deployment):
    """A stack that was deployed; its parts go by the names that they have in the compose file."""

    def read_back(self, service: str) -> Service:
        """Return a service's description as the API has it now, in the compose file's names.

        Networks are in the file's order: the command line sorts them.
        """
        prefix = f"{self.workload.name}_"
        found = super().read_back(service)
        order = [*self.workload.service(service).networks, *found.networks]

        def inner(name: str) -> str:
            return name.removeprefix(prefix)

        aliases = {
            network: tuple(alias for alias in names if alias != service)
            for network, names in found.aliases.items()
        }
        return replace(
            found,
            name=inner(found.name),
            networks=tuple(sorted(found.networks, key=order.index)),
            mounts=tuple(
                replace(each, source=inner(each.source) if each.source else None)
                for each in found.mounts
            ),
            configs=tuple(_own(each, inner) for each in found.configs),
            secrets=tuple(_own(each, inner) for each in found.secrets),
            labels=_without_stack(found.labels),
            container_labels=_without_stack(found.container_labels),
            aliases={network: names for network, names in aliases.items() if names},
        )

    def read_network(self, name: str) -> Network:
        """Return a network's description as the API has it now."""
        found = super().read_network(name)
        return replace(found, name=name, labels=_without_stack(found.labels))


def create(swarm: SwarmClient, stack: Stack) -> StackDeployment:
    """Have the command line deploy a stack by a manager, and return at once.

    Raise :class:`SwarmError` with its own words when it fails, and :class:`UsageError` if a node's
    engine is too old for what the stack asks for.
    """
    engines = {node.name: node.engine.version for node in swarm.lab.nodes.values()}
    for service in stack.workload.services:
        require(service, engines)
    [manager, *_] = swarm.managers
    if any(service.job for service in stack.workload.services):
        mine = {manager.name: engines[manager.name]}
        refuse_too_old(f"the stack {stack.name}", [_JOBS], mine)
    folder = f"/tmp/stack-{stack.name}"
    unpack = f'mkdir -p "{folder}" && tar -x -C "{folder}"'
    manager.run(["/bin/sh", "-c", unpack], stdin=_tar(stack))
    done = manager.run(
        [
            *("docker", "stack", "deploy", "--resolve-image=never", *stack.options),
            *("--compose-file", f"{folder}/{_COMPOSE}", stack.name),
        ],
        timeout=_DEPLOYED_WITHIN,
        check=False,
    )
    if done.code != 0:
        words = done.stderr.decode(errors="replace").strip()
        raise SwarmError(f"the stack {stack.name} was not deployed: {words}")
    made = StackDeployment(swarm, stack.workload, mesh=probe_features().mesh)
    _find_parts(made)
    return made


def _find_parts(made: StackDeployment) -> None:
    name = made.workload.name
    filters = {"label": f"{_NAMESPACE}={name}"}
    services = made.swarm.ask(lambda api: api.api.services(filters=filters))
    networks = made.swarm.ask(lambda api: api.api.networks(filters=filters))
    for each in services:
        made.services[each["Spec"]["Name"].removeprefix(f"{name}_")] = each["ID"]
    for each in networks:
        made.ids.networks[each["Name"].removeprefix(f"{name}_")] = each["Id"]


def _own(file: Any, inner: Any) -> Any:
    name = inner(file.name)
    return replace(file, name=name, target=None if file.target == name else file.target)


def _without_stack(labels: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in labels.items() if not k.startswith("com.docker.stack.")}


def _tar(stack: Stack) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in {_COMPOSE: stack.text.encode(), **stack.files}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return made.getvalue()
