"""Compose files: read, written, read again the same, and refused with file and line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workloads import networks, services, spec_of

from harness.errors import UsageError
from harness.swarm import (
    Dns,
    FileFrom,
    HealthCheck,
    Job,
    LogDriver,
    Mount,
    Network,
    Port,
    Resources,
    Service,
    UpdateConfig,
    Workload,
    as_stack,
    stack,
)
from harness.swarm.compose_reader import read_workload
from harness.swarm.compose_writer import compose_text
from harness.swarm.spec_reader import read_service

pytest.importorskip("yaml", reason="PyYAML is not installed: make setup")

SEVEN = Path(__file__).parents[1] / "integration" / "seven_services" / "compose.yml"


def contents(_: str) -> bytes:
    return b"x"


def reads(text: str) -> Workload:
    return read_workload("load", text, "compose.yml", contents)


def as_a_stack_can(service: Service) -> Service:
    """What of a description no compose file can say is taken out."""
    mounts = tuple(
        replace(
            mount,
            mode=None,
            source=f"{mount.source}{number}" if mount.type == "volume" else mount.source,
        )
        for number, mount in enumerate(service.mounts)
        if mount.source or mount.type == "tmpfs"
    )
    job = service.job and replace(service.job, at_once=service.job.completions)
    return replace(service, mounts=mounts, job=job, dns=replace(service.dns, options=()))


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    service = as_a_stack_can(draw(services()))
    service = replace(service, ports=tuple(dict.fromkeys(service.ports)))
    taken = [(port.published, port.protocol) for port in service.ports if port.published]
    if len(set(taken)) != len(taken):
        service = replace(service, ports=())
    if not service.networks:
        service = replace(service, networks=("default",), aliases={})
    made = [replace(draw(networks()), name=name) for name in service.networks]
    return Workload(
        "load",
        tuple(made),
        (service,),
        configs={each.name: b"x" for each in service.configs},
        secrets={each.name: b"x" for each in service.secrets},
    )


@settings(max_examples=40)
@given(workloads())
def test_a_workload_comes_back_the_same_through_a_compose_file_and_the_api(
    workload: Workload,
) -> None:
    read = reads(compose_text(workload))
    assert read == workload
    [service] = read.services
    names = {f"id-{name}": name for name in service.networks}
    assert read_service(spec_of(service), names) == workload.services[0]


def test_seven_services_with_every_key() -> None:
    seven = stack(SEVEN, name="seven")
    assert seven.files == {"app.conf": b"x = 1\n", "password.txt": b"hunter2"}
    made = seven.workload
    assert [service.name for service in made.services] == [
        *("front", "store", "everywhere", "writer", "datagrams", "once", "once-each")
    ]
    front, store = made.service("front"), made.service("store")
    assert (front.stop_grace, front.stop_signal, front.replicas) == (4.5, "SIGINT", 2)
    assert front.env == {"COLOUR": "blue = green", "PRICE": "5$"}
    assert front.update == UpdateConfig(
        2,
        delay=0.5,
        order="start-first",
        monitor=3.0,
        failure_action="rollback",
        max_failure_ratio=0.5,
    )
    assert store.mounts == (
        Mount("/data", "data"),
        Mount("/ro", "/etc", "bind", read_only=True),
        Mount("/scratch", type="tmpfs", size=1 << 20),
    )
    assert store.configs == (FileFrom("app", "/etc/app.conf", "1", "2", 0o440),)
    assert store.limit == Resources(memory=256 << 20, pids=64)
    assert made.service("everywhere").dns == Dns(("10.1.2.3",), ("example.test",))
    assert made.service("writer").log == LogDriver("json-file", {"max-size": "1m"})
    assert made.service("datagrams").ports == (Port(53, 9153, "udp", "host"),)
    assert made.service("once").job == Job(2, 2)
    assert (made.service("once-each").job, made.service("once-each").replicas) == (Job(), None)
    assert made.overlays[0] == Network(
        "wide", subnet="10.93.0.0/24", mtu=1300, attachable=True, labels={"a": "b"}
    )


def test_short_forms_are_read() -> None:
    made = reads(
        "services:\n"
        "  app:\n"
        "    image: app\n"
        "    command: sh -c 'exit 3'\n"
        "    environment: [A=1, B=2=3]\n"
        "    ports: ['8080:80', '53:53/udp', 81]\n"
        "    volumes: ['data:/data:ro', '/etc:/etc']\n"
        "    healthcheck: {test: curl localhost}\n"
        "volumes: {data: {driver: local, driver_opts: {type: nfs}}}\n"
    )
    [app] = made.services
    assert app.args == ("sh", "-c", "exit 3")
    assert app.env == {"A": "1", "B": "2=3"}
    assert app.ports == (Port(80, 8080), Port(53, 53, "udp"), Port(81))
    assert app.mounts == (
        Mount("/data", "data", read_only=True, driver="local", options={"type": "nfs"}),
        Mount("/etc", "/etc", "bind"),
    )
    assert app.health == HealthCheck(("CMD-SHELL", "curl localhost"))
    assert app.networks == ("default",)
    assert made.overlays == (Network("default", attachable=False),)
    assert app.stop_grace == 10.0


APP = "services:\n  app:\n    image: app\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "compose.yml, line 1: this is not YAML: "),
        ("", "compose.yml: it is empty"),
        ("- a", "compose.yml, line 1: keys and their values are expected"),
        ("version: '3'", "compose.yml, line 1: it has no services"),
        (
            APP + "    imagine: b\n",
            "line 4: .*: services.app has no key 'imagine'",
        ),
        (APP + "    image: b\n", "line 4: services.app.image: it is there twice"),
        ("services:\n  app: {hostname: a}\n", "line 2: services.app: it has no image"),
        (APP + "    environment: {A: $B}\n", "variables are not filled in: write the value, or"),
        (APP + "    ports: ['80:x']\n", r"line 4: services.app.ports\[0\]: '80:x' is not a port"),
        (APP + "    ports: ['70000:80']\n", "70000 is not a port: give 1 to 65535"),
        (
            APP + "    ports: ['80:80']\n  b:\n    image: b\n    ports:\n    - '80:81'\n",
            r"line 8: services.b.ports\[0\]: 80/tcp is published by app already",
        ),
        (APP + "    secrets: [key]\n", r"line 4: .*there is no secret 'key': declare it under"),
        (APP + "    configs: [{source: a}]\n", "there is no config 'a'"),
        (APP + "    networks: [far]\n", "there is no network 'far'"),
        (APP + "    volumes: ['data:/data']\n", "there is no volume 'data'"),
        (APP + "    stop_grace_period: 5\n", "line 4: .*'5' is not a duration: write 1m30s"),
        (APP + "    init: perhaps\n", "'perhaps' is neither true nor false"),
        (APP + "    deploy: {mode: all}\n", "'all' is none of replicated, global"),
        (APP + "    deploy: {mode: global, replicas: 2}\n", "mode global has no replicas"),
        (APP + "    deploy: {replicas: -1}\n", "line 2: services.app: .*-1 is not a number of"),
        (APP + "    deploy: {replicas: two}\n", "'two' is not a whole number"),
        (
            APP + "    deploy: {resources: {limits: {memory: much}}}\n",
            "line 4: services.app.deploy.resources.limits.memory: 'much' is not a size",
        ),
        (APP + "secrets: {key: {external: true}}\n", "secrets.key has no key 'external'"),
        (APP + "networks: {web: {driver: bridge}}\n", "'bridge' is none of overlay"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        reads(text)
    assert str(caught.value).startswith("compose.yml")


def test_files_beside_it_are_looked_for_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    with pytest.raises(UsageError, match=r"web\.yml cannot be read"):
        stack(file)
    for path, why in [("gone", "gone cannot be read: No such file"), ("../x", "has to lie in")]:
        file.write_text(APP + f"secrets:\n  key:\n    file: {path}\n")
        with pytest.raises(UsageError, match=rf"web\.yml, line 6: secrets.key.file: .*{why}"):
            stack(file)
    file.write_text(APP)
    assert stack(file).name == tmp_path.name


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"dns": Dns(options=("ndots:1",))}, "a stack has no dns options"),
        ({"job": Job(3, 1)}, "all runs of a stack's job are at once"),
        (
            {"reserve": Resources(generic={"gpu": "uuid"})},
            "a stack's generic",
        ),
    ],
)
def test_what_no_compose_file_can_say_is_refused(facts: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        as_stack(Workload("load", (), (Service("app", "image", **facts),)))
