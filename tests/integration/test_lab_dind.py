"""Nodes as containers of a real engine, brought up beside the machine as its own would be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optionals import not_none
from processes import running_with

from harness.engine import Engine
from harness.errors import EngineError, LabError
from harness.faults import Faults
from harness.lab import Topology
from harness.lab.attach import attach
from harness.lab.dind import DindLab
from harness.lab.janitor import containers
from harness.lab.outer_engine import ImageEngine, OuterEngine
from harness.lab.own_engine import own_engine
from harness.swarm import Swarm, balanced_web
from harness.trial import Trial
from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration

#: An image as Docker's own is: none of the network's tools, and no env that can ignore signals.
LEAN = "docker:27.3.1-dind"
TAKEN_OUT = ("nft", "tc", "ss", "conntrack", "ipvsadm", "env")

#: Builds a lab of one node and waits to be killed.
MAKER = """
import sys
from pathlib import Path
from harness.engine import engine_at
from harness.lab import Topology
from harness.lab.dind import DindLab
from harness.lab.outer_engine import OuterEngine

engine = engine_at(Path(sys.argv[1]))
lab = DindLab.build(Topology(), lambda _: engine, outer=OuterEngine(Path(sys.argv[2])))
print(lab.keeper.lab_id, lab.keeper.janitor, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def outer(stable: Engine) -> Iterator[OuterEngine]:
    """An engine that has the image of the stable engine, and nothing else."""
    with own_engine(stable) as socket:
        engine = OuterEngine(socket)
        engine.image_of(stable)
        yield engine
        engine.close()


def state_of(outer: OuterEngine) -> Any:
    """All of the outer engine that a lab could leave changed."""
    return (
        sorted(c.id or "" for c in outer.client.containers.list(all=True)),
        sorted(i.id or "" for i in outer.client.images.list(all=True)),
        sorted(str(n.name) for n in outer.client.networks.list()),
        [v.id for v in outer.client.volumes.list()],
    )


def test_a_swarm_of_containers_fails_over_and_leaves_the_engine_as_it_was(
    stable: Engine,
    seed_of: Callable[..., Path | None],
    outer: OuterEngine,
    open_trial: Trial,
    host_state: Callable[..., dict[str, Any]],
) -> None:
    before, host_before = state_of(outer), host_state()
    with DindLab.build(Topology(3, 1), lambda _: stable, seed_for=seed_of, outer=outer) as lab:
        assert {node.docker.info()["Driver"] for node in lab.nodes.values()} == {"overlay2"}
        swarm, faults = Swarm.form(lab), Faults(open_trial, lab)
        web, leader = swarm.deploy(balanced_web()), swarm.leader
        with faults.kill_dockerd(leader):
            swarm.wait_for_leader(other_than=leader, within=60)
        w1 = lab.node("w1")
        with faults.network.cut(w1, plane="control"), faults.process.pause_node(w1):
            assert not w1.dockerd.ping(timeout=0.5)
        with faults.kill_node(w1):
            assert not w1.up
            [dead] = [c for c in outer.client.containers.list(all=True) if c.name == w1.container]
            assert dead.status == "exited"
        swarm.wait_for_ready([*lab.nodes.values()], within=60)
        lab.describe()
        attached = attach(lab.folder)
        assert [node.docker.info()["Name"] for node in attached.nodes.values()] == [*lab.nodes]
        attached.release()
        assert web.services
    assert state_of(outer) == before
    host = host_state()
    for state in (host, host_before):
        del state["groups"]  # others may be at work; the lab's own are looked for below
    assert host == host_before
    assert not list(running_with(lab.keeper.lab_id.encode()))


@pytest.fixture
def maker(stable: Engine, outer: OuterEngine) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """A process that has built a lab, the lab's id, and its janitor's pid."""
    argv = [sys.executable, "-c", MAKER, str(stable.rootfs), str(outer.socket)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        lab_id, janitor = not_none(process.stdout).readline().split()
        try:
            yield process, lab_id, int(janitor)
        finally:
            process.kill()


def test_kill_9_of_the_maker_leaves_no_container(
    maker: tuple[subprocess.Popen[str], str, int], outer: OuterEngine
) -> None:
    process, lab_id, _ = maker
    assert lab_id in containers(str(outer.socket)).values()
    process.kill()
    wait_for(
        lambda: lab_id not in containers(str(outer.socket)).values() or NotYet("still there"),
        state="the containers to be gone",
        within=20,
    )


def test_clean_finds_the_containers_of_a_lab_whose_janitor_died_too(
    maker: tuple[subprocess.Popen[str], str, int], outer: OuterEngine
) -> None:
    process, lab_id, janitor = maker
    environment = {**os.environ, "DOCKER_HOST": f"unix://{outer.socket}"}
    argv = [sys.executable, "-m", "harness.cli.main", "clean", "--dry-run"]

    def listed() -> str:
        return subprocess.run(
            argv, env=environment, capture_output=True, text=True, check=False
        ).stdout

    [container] = [c for c, lab in containers(str(outer.socket)).items() if lab == lab_id]
    assert container[:12] not in listed(), "a living lab is left alone"
    os.kill(janitor, signal.SIGKILL)
    process.kill()
    process.wait()
    assert f"would remove container {container[:12]}" in listed()
    outer.client.containers.get(container).remove(force=True, v=True)


def test_an_image_like_dockers_own_is_an_engine(
    stable: Engine, outer: OuterEngine, open_trial: Trial
) -> None:
    made = outer.client.containers.run(
        outer.image_of(stable),
        ["sh", "-c", f"for p in {' '.join(TAKEN_OUT)}; do rm -f $(command -v $p); done"],
        network_mode="none",
        detach=True,
    )
    made.wait()
    image = made.commit("docker", "27.3.1-dind")
    made.remove()
    try:
        engine = outer.provide(LEAN, "27.3.1")
        assert (engine.version, engine.image) == (stable.version, image.id)
        with DindLab.build(Topology(1, 1), lambda _: engine, outer=outer) as lab:
            Swarm.form(lab)
            m1, w1 = lab.nodes.values()
            assert m1.run(["sh", "-c", "command -v ss"], check=False).code != 0
            with Faults(open_trial, lab).network.reset_connections(w1, plane="control"):
                pass
            attached = attach(lab.folder)
            assert attached.node("m1").engine == engine
            assert isinstance(attached.node("m1").engine, ImageEngine)
            attached.release()
    finally:
        outer.client.images.remove(LEAN, force=True)


def test_an_image_that_is_not_there_and_one_without_an_engine_are_sentences(
    outer: OuterEngine, stable: Engine
) -> None:
    before = state_of(outer)
    with pytest.raises(EngineError, match=r"could not pull docker:99\.9\.9-dind") as refusal:
        outer.provide("docker:99.9.9-dind", "99.9.9")
    assert "\n" not in refusal.value.what
    assert state_of(outer) == before


@pytest.mark.parametrize(
    ("host", "engine", "code", "said"),
    [
        ("unix:///nowhere/docker.sock", "stable", 2, "there is none at /nowhere/docker.sock"),
        ("tcp://198.18.0.1:2375", "stable", 64, "DOCKER_HOST is tcp://198.18.0.1:2375"),
        ("", "image:nothing/there:1", 2, "could not pull nothing/there:1"),
    ],
)
def test_bad_input_is_a_sentence_and_makes_no_run(
    outer: OuterEngine, tmp_path: Path, host: str, engine: str, code: int, said: str
) -> None:
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "harness.cli.main", "run", "--lab", "dind"),
            "scenarios/test_subnet_exhausted.py",
            *("--engine", engine, "--reports", str(tmp_path), "-p", "no:cacheprovider"),
        ],
        env={**os.environ, "DOCKER_HOST": host or f"unix://{outer.socket}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    assert ran.returncode == code
    assert not list(tmp_path.iterdir())


def test_an_engine_elsewhere_is_found_out_by_its_containers(
    stable: Engine, outer: OuterEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that keeps its files in another place: nothing of it can be entered."""
    elsewhere = Path(f"/var/tmp/sc-{os.getpid()}")
    monkeypatch.setenv("SWARM_CHAOS_LABS", str(elsewhere))
    before = state_of(outer)
    try:
        with pytest.raises(LabError, match="bind source path does not exist") as refusal:
            DindLab.build(Topology(), lambda _: stable, outer=outer)
        assert "on this machine" in not_none(refusal.value.hint)
    finally:
        elsewhere.rmdir()
    assert state_of(outer) == before


def test_nodes_come_up_on_cgroup_v1_too(stable: Engine) -> None:
    if "cpu" not in Path("/proc/self/cgroup").read_text():
        pytest.skip("this kernel has no version 1 hierarchies in use")
    with own_engine(stable, cgroups="v1") as socket:
        outer = OuterEngine(socket)
        with DindLab.build(Topology(), lambda _: stable, outer=outer) as lab:
            [m1] = lab.nodes.values()
            assert m1.docker.info()["CgroupVersion"] == "1"
            m1.kill()
            m1.start()
            assert m1.docker.info()["MemoryLimit"]
        outer.close()
