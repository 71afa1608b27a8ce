"""Hypothesis strategies for descriptions of services and networks."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from harness.swarm import (
    ANY_SUBNET,
    Dns,
    FileFrom,
    HealthCheck,
    Job,
    LogDriver,
    Mount,
    Network,
    Port,
    Resources,
    RestartPolicy,
    Service,
    UpdateConfig,
)
from harness.swarm.service_spec import Ids, creation

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
WORDS = st.text("abcXYZ019 =:.,/-_#'\"", min_size=1, max_size=12)
PATHS = st.from_regex(r"/[a-z]{1,8}(/[a-z]{1,8})?", fullmatch=True)
PORTS = st.integers(1, 65535)

#: Whole milliseconds, so that no digit is lost in nanoseconds. Never 0, which says nothing.
SECONDS = st.integers(1, 600_000).map(lambda ms: ms / 1000)
COUNTS = st.integers(1, 50)
TEXTS = st.dictionaries(NAMES, WORDS, max_size=3)


def tuples(of: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=3).map(tuple)


def maybe(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | of


HEALTH = st.builds(
    HealthCheck,
    st.lists(WORDS, min_size=1, max_size=3).map(lambda words: ("CMD", *words)),
    interval=maybe(SECONDS),
    timeout=maybe(SECONDS),
    retries=maybe(COUNTS),
    start_period=maybe(SECONDS),
    start_interval=maybe(SECONDS),
)
UPDATE = st.builds(
    UpdateConfig,
    st.integers(0, 9),
    delay=maybe(SECONDS),
    order=maybe(st.sampled_from(["stop-first", "start-first"])),
    monitor=maybe(SECONDS),
    failure_action=maybe(st.sampled_from(["pause", "continue", "rollback"])),
    max_failure_ratio=maybe(st.sampled_from([0.25, 0.5, 1.0])),
)
MOUNT = st.one_of(
    st.builds(Mount, PATHS, maybe(NAMES), read_only=st.booleans()),
    st.builds(Mount, PATHS, NAMES, driver=NAMES, options=TEXTS),
    st.builds(Mount, PATHS, PATHS, st.just("bind"), read_only=st.booleans()),
    st.builds(
        Mount, PATHS, type=st.just("tmpfs"), size=maybe(COUNTS), mode=maybe(st.integers(1, 0o777))
    ),
)
FILE = st.builds(FileFrom, NAMES, maybe(PATHS), st.just("33"), st.just("34"), st.just(0o400))
CPUS = st.sampled_from([0.25, 0.5, 1.5])


@st.composite
def services(draw: st.DrawFn) -> Service:
    """Services that every engine of today can be told, none of them entered by clients."""
    job = draw(maybe(st.builds(Job, COUNTS, COUNTS)))
    replicas = draw(st.none() | st.integers(0, 9)) if job is None else draw(st.none() | st.just(1))
    if job is not None and replicas is None:
        job = Job()
    names = tuple(draw(st.lists(NAMES, max_size=3, unique=True)))
    ports = draw(
        st.lists(
            st.builds(
                Port,
                PORTS,
                maybe(PORTS),
                st.sampled_from(["tcp", "udp", "sctp"]),
                st.sampled_from(["ingress", "host"]),
            ),
            max_size=3,
            unique_by=lambda port: port.target,
        )
    )
    return Service(
        draw(NAMES),
        draw(NAMES) + ":1",
        names,
        replicas=replicas,
        job=job,
        env=draw(TEXTS),
        stop_grace=draw(SECONDS),
        constraints=draw(tuples(NAMES.map(lambda name: f"node.labels.{name}==a"))),
        log=draw(maybe(st.builds(LogDriver, NAMES, TEXTS))),
        command=draw(tuples(WORDS)),
        args=draw(tuples(WORDS)),
        health=draw(maybe(HEALTH)),
        reserve=draw(
            st.builds(
                Resources,
                memory=maybe(COUNTS),
                cpus=maybe(CPUS),
                generic=st.dictionaries(NAMES, COUNTS, max_size=2),
            )
        ),
        limit=draw(
            st.builds(Resources, memory=maybe(COUNTS), cpus=maybe(CPUS), pids=maybe(COUNTS))
        ),
        restart=draw(
            st.builds(
                RestartPolicy,
                st.sampled_from([None, "none"]),
                delay=SECONDS,
                attempts=maybe(COUNTS),
                window=maybe(SECONDS),
            )
        ),
        update=draw(maybe(UPDATE)) if job is None else None,
        rollback=draw(maybe(UPDATE)) if job is None else None,
        ports=tuple(ports),
        mounts=draw(tuples(MOUNT)),
        configs=draw(tuples(FILE)),
        secrets=draw(tuples(FILE)),
        endpoint=draw(st.sampled_from(["vip", "dnsrr"])),
        preferences=draw(tuples(NAMES.map(lambda name: f"node.labels.{name}"))),
        max_per_node=draw(maybe(COUNTS)),
        hostname=draw(maybe(NAMES)),
        labels=draw(TEXTS),
        container_labels=draw(TEXTS),
        aliases=draw(
            st.dictionaries(
                st.sampled_from(names), st.lists(NAMES, min_size=1, max_size=2).map(tuple)
            )
        )
        if names
        else {},
        stop_signal=draw(maybe(st.sampled_from(["SIGINT", "SIGQUIT"]))),
        init=draw(maybe(st.booleans())),
        cap_add=draw(tuples(st.just("NET_ADMIN"))),
        cap_drop=draw(tuples(st.just("ALL"))),
        sysctls=draw(st.dictionaries(st.just("net.core.somaxconn"), st.just("1024"))),
        dns=draw(st.builds(Dns, tuples(st.just("10.0.0.1")), tuples(NAMES), tuples(NAMES))),
        user=draw(maybe(NAMES)),
        workdir=draw(maybe(PATHS)),
        read_only=draw(st.booleans()),
    )


def networks() -> st.SearchStrategy[Network]:
    """Networks of all kinds."""
    return st.builds(
        Network,
        NAMES,
        subnet=maybe(st.integers(0, 255).map(lambda n: f"10.{n}.0.0/24")),
        subnet_ipv6=maybe(st.sampled_from(["fd00:77::/64", ANY_SUBNET])),
        encrypted=st.booleans(),
        mtu=maybe(st.integers(68, 9000)),
        attachable=st.booleans(),
        internal=st.booleans(),
        labels=TEXTS,
        options=TEXTS,
    )


def spec_of(service: Service, *, mesh: bool = True) -> dict[str, Any]:
    """The spec that the API has of a service, its networks, configs and secrets called id-NAME."""
    ids = Ids(
        {name: f"id-{name}" for name in service.networks},
        {each.name: f"id-{each.name}" for each in service.configs},
        {each.name: f"id-{each.name}" for each in service.secrets},
    )
    arguments = creation(service, ids, mesh=mesh, engines=("26.1.5",))
    named = {
        "task_template": "TaskTemplate",
        "name": "Name",
        "labels": "Labels",
        "mode": "Mode",
        "update_config": "UpdateConfig",
        "rollback_config": "RollbackConfig",
        "endpoint_spec": "EndpointSpec",
    }
    return {named[key]: value for key, value in arguments.items()}
