"""The namespaces lab: nodes that are up, closed off, alike, and able to die and return."""

from __future__ import annotations

import http.client
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import docker.client
import pytest
from lab_builds import LabOf
from optionals import not_none

from harness.engine import Engine
from harness.errors import LabError
from harness.images.workload_images import WORKLOAD_TAGS
from harness.lab import NamespacesLab, Topology, labs_folder
from harness.lab.warm_process import keep_warm
from harness.swarm import Swarm
from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def lab(lab_of: LabOf) -> Iterator[NamespacesLab]:
    with lab_of(1, 1) as lab:
        yield lab


def test_every_node_runs_its_engine(lab: NamespacesLab, stable: Engine) -> None:
    for node in lab.nodes.values():
        assert node.up
        assert node.dockerd.ping()
        info = node.docker.info()
        assert info["Name"] == node.name
        assert info["ServerVersion"].startswith(stable.version)
        assert info["Driver"] == "overlay2"


def test_the_api_is_for_its_owner_alone(lab: NamespacesLab) -> None:
    for node in lab.nodes.values():
        assert stat.S_IMODE(node.dockerd.socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(node.dockerd.socket.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(lab.keeper.lab_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(labs_folder().stat().st_mode) == 0o700


def test_no_dockerd_listens_on_tcp_but_for_metrics(lab: NamespacesLab) -> None:
    listening = lab.node("m1").run(["ss", "-Hltn"]).text.split("\n")
    ports = {line.split()[3].rsplit(":", 1)[1] for line in listening if line}
    assert ports == {"9323"}


def test_metrics_are_to_be_had_inside_and_not_from_the_host(lab: NamespacesLab) -> None:
    node = lab.node("m1")
    assert "engine_daemon_engine_info" in node.metrics()
    assert "engine_daemon_engine_info" in lab.node("w1").network.call(
        lambda: ask(node.address, 9323, "/metrics")
    )
    try:
        outside = ask(node.address, 9323, "/metrics")
    except OSError:
        return
    assert "engine_daemon" not in outside, "a gateway answers for everybody here, not the node"


def ask(address: Any, port: int, path: str) -> Any:
    connection = http.client.HTTPConnection(address, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_nodes_have_no_way_out(lab: NamespacesLab) -> None:
    node = lab.node("m1")
    routes = node.run(["ip", "route", "show", "default"]).text
    assert routes == ""
    with pytest.raises(OSError, match="unreachable"):
        node.network.call(lambda: socket.create_connection(("192.0.2.1", 80), timeout=2))


def test_testinfra_sees_the_node_and_nothing_else(lab: NamespacesLab) -> None:
    host = lab.node("m1").host
    [dockerd] = host.process.filter(comm="dockerd")
    assert "--host=unix:///run/swarm-chaos/docker.sock" in dockerd.args
    assert host.interface("eth0").addresses[0] == lab.node("m1").address
    assert not host.interface("m1").exists  # the other end is the fabric's
    assert host.file("/etc/hostname").content_string == "m1\n"
    assert not host.file(str(lab.keeper.lab_dir)).exists
    assert {p.comm for p in host.process.filter(user="root")}.isdisjoint({"pytest", "python3"})


def test_a_program_that_fails_or_hangs_says_where(lab: NamespacesLab) -> None:
    node = lab.node("w1")
    with pytest.raises(LabError, match="on w1, `ls /nowhere` ended with 2"):
        node.run(["ls", "/nowhere"])
    with pytest.raises(LabError, match=r"did not end within 0\.5 s"):
        node.run(["sleep", "60"], timeout=0.5)
    assert node.run(["sh", "-c", "exit 3"], check=False).code == 3


def test_the_log_is_kept_and_collected(lab: NamespacesLab, tmp_path: Path) -> None:
    lab.collect_logs(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m1.log", "w1.log"]
    assert "API listen on" in (tmp_path / "m1.log").read_text()


def test_an_unknown_node_is_named_beside_those_there_are(lab: NamespacesLab) -> None:
    with pytest.raises(LabError, match="no node 'm9'; there are m1, w1"):
        lab.node("m9")


def test_client_hosts_are_on_the_fabric_with_the_files_of_this_side(
    lab: NamespacesLab, tmp_path: Path
) -> None:
    site = lab.client_host("prober")
    process = site.popen(["ip", "-o", "-4", "address", "show", "eth0"], stdout=subprocess.PIPE)
    assert site.address in process.communicate()[0].decode()
    (tmp_path / "file").write_text("seen")
    process = site.popen(["cat", str(tmp_path / "file")], stdout=subprocess.PIPE)
    assert process.communicate()[0] == b"seen"
    assert "engine_daemon" in site.network.call(
        lambda: ask(lab.node("m1").address, 9323, "/metrics")
    )


MODULE = """
import json, os, socket, subprocess, sys
print(json.dumps({
    "pid": os.getpid(),
    "imported": "wave" in early,
    "address": subprocess.run(["ip", "-o", "-4", "address", "show", "eth0"],
                              capture_output=True, text=True).stdout,
    "groups": open("/proc/self/cgroup").read(),
    "told": os.environ.get("TOLD"),
    "hidden": os.environ.get("HIDDEN"),
    "name": __name__,
}), flush=True)
sys.stdin.read()
print("nobody is there", flush=True)
"""


def said_in(log: Any) -> Any:
    text = log.read_text() if log.exists() else ""
    return json.loads(text) if text.startswith("{") and text.endswith("}\n") else NotYet(text)


@pytest.mark.parametrize("waiting", [True, False])
def test_a_module_at_a_site_is_the_process_that_waits(
    lab: NamespacesLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: bool
) -> None:
    """The same program in the same place, whether a process waited for it or not."""
    (tmp_path / "shown.py").write_text("import sys\nearly = list(sys.modules)\n" + MODULE)
    log = tmp_path / "log"
    site = lab.client_host("runner")
    if waiting:
        monkeypatch.setenv("HIDDEN", "1")
        keep_warm(["wave"], {})
        monkeypatch.delenv("HIDDEN")
    process = site.run_module(
        "shown", environment={**os.environ, "PYTHONPATH": str(tmp_path), "TOLD": "yes"}, log=log
    )
    try:
        said = wait_for(partial(said_in, log), state="its words", within=20)
        assert said["imported"] is waiting
        assert site.address in said["address"]
        assert (said["told"], said["hidden"], said["name"]) == ("yes", None, "__main__")
        assert lab.keeper.lab_id in said["groups"]
        if waiting:
            assert said["pid"] == process.pid
        not_none(process.stdin).close()
        assert process.wait(timeout=10) == 0
        assert log.read_text().endswith("nobody is there\n")
    finally:
        process.kill()
        process.wait()
        not_none(process.stdin).close()


def test_another_process_can_attach(lab: NamespacesLab) -> None:
    lab.describe()
    script = (
        "import sys, json; from pathlib import Path; from harness.lab import NamespacesLab\n"
        "lab = NamespacesLab.attach(Path(sys.argv[1]))\n"
        "print(json.dumps({n.name: [n.up, n.docker.info()['Name'], n.dockerd.pid]"
        " for n in lab.nodes.values()}))\n"
        "lab.release()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(lab.keeper.lab_dir)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {
        node.name: [True, node.name, node.dockerd.pid] for node in lab.nodes.values()
    }
    assert all(node.dockerd.ping() for node in lab.nodes.values()), "the lab outlives who attached"


def test_attaching_to_nothing_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="there is no lab in"):
        NamespacesLab.attach(tmp_path)


def test_a_killed_dockerd_returns_with_the_state_it_had(stable: Engine) -> None:
    with NamespacesLab.build(Topology(1), lambda _: stable) as lab:
        node = lab.node("m1")
        Swarm.form(lab)
        before = node.docker.swarm.attrs["ID"], node.docker.info()["Swarm"]["NodeID"]
        for kill in (node.dockerd.kill, node.kill):
            kill()
            with pytest.raises(LabError, match=r"is not running|switched off"):
                node.dockerd.signal(0)
            assert not node.up or not node.dockerd.ping()
            node.start()
            after = node.client(15)
            try:
                wait_active(after)
                assert (after.swarm.attrs["ID"], after.info()["Swarm"]["NodeID"]) == before
            finally:
                after.close()


def wait_active(client: docker.client.DockerClient, within: int = 30) -> None:
    """Until a single manager has elected itself again."""
    give_up = time.monotonic() + within
    while True:
        try:
            client.swarm.reload()
        except Exception:
            assert time.monotonic() < give_up
            time.sleep(0.2)
        else:
            return


def test_two_labs_at_once_do_not_meet_and_leave_the_host_as_it_was(
    stable: Engine, host_state: Callable[..., dict[str, Any]]
) -> None:
    before = host_state()
    with (
        NamespacesLab.build(Topology(1), lambda _: stable) as one,
        NamespacesLab.build(Topology(1), lambda _: stable) as other,
    ):
        during = host_state()
        for key in before.keys() - {"groups"}:
            assert during[key] == before[key], key
        assert one.node("m1").address == other.node("m1").address
        assert one.node("m1").docker.info()["ID"] != other.node("m1").docker.info()["ID"]
        one.node("m1").kill()
        assert other.node("m1").dockerd.ping()
        folders = [lab.keeper.lab_dir for lab in (one, other)]
    assert not any(folder.exists() for folder in folders)
    after = host_state()
    for name in before["groups"]:  # somebody else's lab may be running
        after["groups"][name] = [g for g in after["groups"][name] if "swarm-chaos" not in g]
        before["groups"][name] = [g for g in before["groups"][name] if "swarm-chaos" not in g]
    assert after == before


def test_closing_twice_is_closing_once(stable: Engine) -> None:
    lab = NamespacesLab.build(Topology(1), lambda _: stable)
    lab.close()
    lab.close()
    assert not lab.keeper.lab_dir.exists()


def test_a_container_runs_on_cgroup_v1(stable: Engine, seed_of: Callable[..., Path | None]) -> None:
    if "cpu" not in Path("/proc/self/cgroup").read_text():
        pytest.skip("this kernel has no version 1 hierarchies in use")
    old = replace(stable, cgroups="v1")
    with NamespacesLab.build(Topology(1), lambda _: old, seed_for=seed_of) as lab:
        node = lab.node("m1")
        assert node.docker.info()["CgroupVersion"] == "1"
        output = node.docker.containers.run(
            "swarm-chaos/app:1",
            entrypoint=["python3", "-c", "print(open('/proc/self/cgroup').read())"],
            remove=True,
        )
    assert b"devices:/" in output


TAKING = """
import json, os, stat
took = {}
def take(what, act):
    try:
        act()
        took[what] = "taken"
    except OSError as error:
        took[what] = error.strerror
def device(name, kind, number):
    os.mknod(name, kind | 0o600, number)
    os.close(os.open(name, os.O_RDWR))
def sysctl(name):
    with open(f"/proc/sys/{name}") as file:
        value = file.read()
    with open(f"/proc/sys/{name}", "w") as file:
        file.write(value)
block = stat.S_IFBLK
for major, name in ((7, "loop"), (8, "sda"), (254, "vda"), (259, "nvme")):
    take(name, lambda: device(f"/tmp/{name}", block, os.makedev(major, 0)))
for minor in (1, 2, 4, 11):
    take(f"memory {minor}", lambda: device(f"/tmp/m{minor}", stat.S_IFCHR, os.makedev(1, minor)))
take("loop-control", lambda: device("/tmp/lc", stat.S_IFCHR, os.makedev(10, 237)))
take("fuse", lambda: device("/tmp/fuse", stat.S_IFCHR, os.makedev(10, 229)))
for name in ("kernel/core_pattern", "kernel/printk", "vm/swappiness", "fs/file-max"):
    take(name, lambda: sysctl(name))
mine = ("net/ipv4/ip_forward", "kernel/shmmax", "kernel/hostname")
for name in mine:
    take(name, lambda: sysctl(name))
take("null", lambda: device("/tmp/null", stat.S_IFCHR, os.makedev(1, 3)))
print(json.dumps(took))
"""
OWN = {"net/ipv4/ip_forward", "kernel/shmmax", "kernel/hostname", "null"}


def test_a_privileged_container_has_neither_the_hosts_devices_nor_its_sysctls(
    stable: Engine, seed_of: Callable[..., Path | None]
) -> None:
    with NamespacesLab.build(Topology(1), lambda _: stable, seed_for=seed_of) as lab:
        output = lab.node("m1").docker.containers.run(
            WORKLOAD_TAGS["app"],
            ["-c", TAKING],
            entrypoint="/usr/bin/python3",
            privileged=True,
            network_mode="none",
            tmpfs={"/tmp": "dev,exec"},
            remove=True,
        )
    took = json.loads(output)
    assert {what for what, said in took.items() if said == "taken"} == OWN, took
    refused = {said for what, said in took.items() if what not in OWN}
    assert refused == {"Operation not permitted"}, took


def test_no_room_for_a_lab_is_a_sentence_and_leaves_nothing(stable: Engine) -> None:
    # A file system of a few blocks, in a mount namespace of the test's own child.
    script = (
        "from harness.engine import engine_at; from pathlib import Path\n"
        "from harness.lab import NamespacesLab, Topology\n"
        f"engine = engine_at(Path({str(stable.rootfs)!r}))\n"
        "NamespacesLab.build(Topology(1), lambda _: engine)\n"
    )
    for size in ("4k", "64k"):  # not even the folder; too little for the node
        done = subprocess.run(
            [
                *("unshare", "--mount", "--propagation", "private", "sh", "-c"),
                f'mount -t tmpfs -o size={size} none /mnt && "$1" -c "$2"; ls -A /mnt/labs',
                *("sh", sys.executable, script),
            ],
            env={**os.environ, "SWARM_CHAOS_LABS": "/mnt/labs"},
            capture_output=True,
            text=True,
            check=False,
        )
        last = done.stderr.strip().splitlines()
        assert any("harness.errors.LabError" in line for line in last), done.stderr
        assert "no space left on device" in done.stderr.lower()
        assert done.stdout == "", "the lab's folder is gone"
