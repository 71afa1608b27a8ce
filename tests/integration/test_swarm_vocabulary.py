"""Everything that a workload can say, said to a real engine, and read back from it the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.engine import Engine
from harness.errors import SwarmError
from harness.lab import NamespacesLab, Topology
from harness.swarm import (
    APP_IMAGE,
    APP_PORT,
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
    Swarm,
    SwarmPools,
    SwarmSettings,
    UpdateConfig,
    Workload,
    stack,
)

pytestmark = pytest.mark.integration

PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")

RICH = Service(
    "rich",
    APP_IMAGE,
    ("wide", "narrow"),
    replicas=2,
    env={"COLOUR": "blue = green"},
    stop_grace=4.5,
    stop_signal="SIGINT",
    constraints=("node.labels.rack==a",),
    preferences=("node.labels.rack",),
    max_per_node=2,
    log=LogDriver("json-file", {"max-size": "1m"}),
    command=(*PYTHON, "import time; time.sleep(600)"),
    args=("one", "two"),
    health=HealthCheck(
        ("CMD", *PYTHON, "pass"), interval=2.5, timeout=2.0, retries=2, start_period=1.0
    ),
    reserve=Resources(memory=8 << 20, cpus=0.05),
    limit=Resources(memory=256 << 20, pids=64),
    restart=RestartPolicy("on-failure", delay=1.5, attempts=3, window=30.0),
    update=UpdateConfig(
        2,
        delay=0.5,
        order="start-first",
        monitor=3.0,
        failure_action="rollback",
        max_failure_ratio=0.5,
    ),
    rollback=UpdateConfig(1, order="stop-first", failure_action="pause"),
    ports=(Port(APP_PORT, 9000, mode="host"), Port(53, 9053, "udp", mode="host")),
    mounts=(
        Mount("/data", "shared"),
        Mount("/ro", "/etc", "bind", read_only=True),
        Mount("/scratch", type="tmpfs", size=1 << 20, mode=0o700),
    ),
    configs=(FileFrom("app.conf", "/etc/app.conf", "1", "2", 0o440),),
    secrets=(FileFrom("password"),),
    endpoint="dnsrr",
    hostname="{{.Node.Hostname}}-{{.Task.Slot}}",
    labels={"team": "a"},
    container_labels={"tier": "front"},
    aliases={"wide": ("other",)},
    init=True,
    cap_add=("CAP_NET_ADMIN",),
    cap_drop=("CAP_MKNOD",),
    sysctls={"net.ipv4.ip_unprivileged_port_start": "1"},
    dns=Dns(("10.1.2.3",), ("example.test",), ("timeout:1",)),
    user="0",
    workdir="/tmp",
    read_only=True,
)
NETWORKS = (
    Network("wide", subnet="10.91.0.0/24", mtu=1300, labels={"a": "b"}),
    Network("narrow", subnet="10.92.0.0/28", attachable=False, internal=True),
)
FILES = Workload(
    "rich", NETWORKS, (RICH,), configs={"app.conf": b"x = 1\n"}, secrets={"password": b"hunter2"}
)


@pytest.fixture(scope="module")
def swarm(stable: Engine, seed_of: Callable[..., Path | None]) -> Iterator[Swarm]:
    with NamespacesLab.build(Topology(1, 1), lambda _: stable, seed_for=seed_of) as lab:
        yield Swarm.form(lab, seed=1, pools=SwarmPools(("10.90.0.0/16",), prefix=27))


def test_what_is_said_is_read_back_and_is_so_in_the_task(swarm: Swarm) -> None:
    for node in (swarm.leader, *swarm.workers):
        swarm.set_labels(node, {"rack": "a"})
    rich = swarm.deploy(FILES, within=60)
    assert rich.read_back("rich") == RICH
    networks = [
        swarm.ask(lambda api, id_=id_: api.api.inspect_network(id_))
        for id_ in rich.networks.values()
    ]
    assert {
        each["Name"]: each["Options"].get("com.docker.network.driver.mtu") for each in networks
    } == {"wide": "1300", "narrow": None}
    task = next(each for each in rich.tasks("rich") if each.running)
    node = swarm.lab.node(task.node)
    [name] = [name for c in node.docker.containers.list() if task.id in (name := str(c.name))]
    shown = node.run(["docker", "exec", name, *PYTHON, SHOW]).stdout.decode().split()
    assert shown == [f"{task.node}-{task.slot}", "x=1", "hunter2", "0o440"]


SHOW = (
    "import os, socket; print(socket.gethostname(), open('/etc/app.conf').read().replace(' ', ''),"
    "open('/run/secrets/password').read(), oct(os.stat('/etc/app.conf').st_mode & 0o777))"
)


def test_jobs_complete_as_often_as_they_are_asked_to(swarm: Swarm) -> None:
    ends = Service("ends", APP_IMAGE, command=(*PYTHON, "pass"), job=Job(3, 2))
    jobs = Workload(
        "jobs",
        (),
        (
            ends,
            replace(
                ends, name="each", replicas=None, job=Job(), constraints=("node.role==worker",)
            ),
            Service("stays", APP_IMAGE, job=Job(4, 2)),
        ),
    )
    made = swarm.deploy(jobs)
    made.wait_completed("ends", 60)
    made.wait_completed("each", 60)
    assert (made.wanted("ends"), made.wanted("each"), made.wanted("stays")) == (0, 0, 2)
    assert "0 of 4 completed" in str(made.completed("stays"))
    assert made.read_back("ends") == replace(ends, endpoint=made.read_back("ends").endpoint)
    for name in list(made.services):
        made.remove(name)


def test_seven_services_of_a_compose_file_by_the_command_line(swarm: Swarm) -> None:
    for node in (swarm.leader, *swarm.workers):
        swarm.set_labels(node, {"rack": "a"})
    file = stack(Path(__file__).parent / "seven_services" / "compose.yml", name="seven")
    made = swarm.deploy(file, within=90)
    made.wait_completed("once", 60)
    made.wait_completed("once-each", 60)
    described = {service.name: service for service in file.workload.services}
    assert {name: made.read_back(name) for name in made.services} == described
    wide, narrow = file.workload.overlays
    assert made.read_network("wide") == wide
    assert made.read_network("narrow") == narrow
    made.scale("front", 1)
    made.wait_running(60)
    with pytest.raises(SwarmError, match=r"the stack seven was not deployed: .*unknown flag"):
        swarm.create(replace(file, options=("--no-such-flag",)))


def test_a_swarm_is_set_and_locked(swarm: Swarm) -> None:
    swarm.configure(SwarmSettings(snapshot_interval=100, task_history=1, heartbeat=4.0))
    spec = swarm.ask(lambda api: api.api.inspect_swarm())
    assert spec["Spec"]["Raft"]["SnapshotInterval"] == 100
    assert spec["Spec"]["Dispatcher"]["HeartbeatPeriod"] == 4_000_000_000
    assert (spec["DefaultAddrPool"], spec["SubnetSize"]) == (["10.90.0.0/16"], 27)
    assert swarm.unlock_key() == ""
    swarm.configure(SwarmSettings(autolock=True))
    key, manager = swarm.unlock_key(), swarm.leader
    manager.dockerd.stop()
    manager.dockerd.start()
    manager.dockerd.wait_ready()
    assert manager.docker.info()["Swarm"]["LocalNodeState"] == "locked"
    swarm.unlock(manager, key)
    swarm.wait_for_ready([manager])
    swarm.configure(SwarmSettings(task_history=5, autolock=False))  # as other tests need them
