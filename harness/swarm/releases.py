"""Which release of Docker Engine first knew what a workload asks for.

An older engine does not refuse a key of the API that it does not know: it drops it without a word,
and the scenario would measure something else. So it is refused here, by the name of the release.
Releases are those of the API's versions (moby docs/api/version-history.md): 1.30 is 17.06, 1.32
is 17.09, 1.37 is 18.03, 1.38 is 18.06, 1.39 is 18.09, 1.40 is 19.03, 1.41 is 20.10, 1.44 is 25.0.
What 17.05 has, the oldest release that was ever tried, is not listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from harness.engine.versions import release_key
from harness.errors import UsageError
from harness.swarm.service_parts import Port
from harness.swarm.workload import Service


def require(service: Service, engines: Mapping[str, str]) -> None:
    """Raise :class:`UsageError` if an engine is too old for what a service asks for.

    ``engines`` are the versions of the nodes' engines, by the nodes' names.
    """
    refuse_too_old(f"service {service.name}", _needs(service), engines)


def refuse_too_old(who: str, needs: Iterable[tuple[str, str]], engines: Mapping[str, str]) -> None:
    """Raise :class:`UsageError` for the first of ``needs`` that an engine is too old for.

    ``needs`` are pairs of a feature and the release that has it first.
    """
    for what, release in needs:
        for node, version in engines.items():
            if release_key(version) < release_key(release):
                raise UsageError(
                    f"{who} asks for {what}, which Docker Engine has from {release} on: "
                    f"{node} runs {version}"
                )


def _needs(service: Service) -> Iterator[tuple[str, str]]:
    if service.job:
        yield "a job", "20.10.0"
    if service.cap_add or service.cap_drop:
        yield "capabilities", "20.10.0"
    if service.limit.pids is not None:
        yield "a limit of pids", "20.10.0"
    if service.max_per_node is not None:
        yield "a number of replicas per node", "19.03.0"
    if service.sysctls:
        yield "sysctls", "19.03.0"
    if service.init is not None:
        yield "init", "18.06.0"
    if _speaks("sctp", service.ports):
        yield "an SCTP port", "18.03.0"
    if service.reserve.generic:
        yield "a generic resource", "17.09.0"
    if service.configs:
        yield "configs", "17.06.0"
    if service.health and service.health.start_interval is not None:
        yield "a health check's start interval", "25.0.0"


def _speaks(protocol: str, ports: Iterable[Port]) -> bool:
    return any(port.protocol == protocol for port in ports)
