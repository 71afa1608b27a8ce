"""The ssh lab over real sshds: three machines, each in namespaces of its own on this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from machines import OPERATOR, VISITOR, SshMachines, ssh_machines

from harness.engine import Engine
from harness.wait import NotYet, wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not Path("/usr/sbin/sshd").exists(), reason="no sshd to bring up: run .ci/sshd"
    ),
]

#: Who is let in at the machines: root, and an ordinary user who becomes root there.
USERS = [
    "root",
    pytest.param(
        OPERATOR,
        marks=pytest.mark.skipif(
            not Path("/usr/bin/sudo").exists(), reason="no sudo to become root by: run .ci/sshd"
        ),
    ),
]

#: What is asked of a swarm on machines: faults on dockerd, containerd and links, and a failover.
SCENARIO = """
import pytest
from harness.trial import Expectation

NEW_LEADER = Expectation(
    "time to a new leader", unit="s", at_most=45,
    source="swarmkit: an election takes 10 to 20 ticks of 1 s, or two rounds",
    no_control="the harness's own suite has it",
)


@pytest.mark.swarm(managers=3)
def test_leader_lost(swarm, faults, leadership, measure):
    leader, follower, other = swarm.leader, *[m for m in swarm.managers if m != swarm.leader]
    client = swarm.lab.client_host("client")
    with faults.network.cut(faults.network.links(follower, client)):
        pass
    with faults.network.loss(faults.network.links(follower, other), share=0.5, plane="ip") as loss:
        pass
    lost, seen = loss.packet_counts
    assert 0.3 < lost / seen < 0.7, (lost, seen)
    with faults.kill_node(other):
        pass
    swarm.wait_for_ready([other])
    swarm.wait_for_raft([other])  # one that lags behind cannot be elected, and delays who can
    with faults.process.kill_containerd(follower), faults.kill_dockerd(leader) as outage:
        measure(NEW_LEADER, leadership.time_to_new_leader(other_than=leader, since=outage))
"""

#: A lab that stays until it is killed, although nobody but it holds the connections.
STAYS = """
import gc
import sys
from pathlib import Path
from harness.engine import engine_at
from harness.lab import Topology
from harness.lab.ssh.lab import SshLab
from harness.lab.ssh.machines import Machines

engine = engine_at(Path(sys.argv[2]))
lab = SshLab.build(Topology(), lambda _: engine, machines=Machines.reached(Path(sys.argv[1])))
gc.collect()
lab.node("m1").run(["docker", "info"])
print("up", flush=True)
sys.stdin.read()
"""

#: What is said of each inventory that is named.
ASKS = """
import json, sys
from pathlib import Path
from harness.engine import engine_at
from harness.errors import HarnessError
from harness.lab import Topology
from harness.lab.ssh.lab import SshLab
from harness.lab.ssh.machines import Machines

for path in sys.argv[2:]:
    try:
        machines = Machines.reached(Path(path))
        engine = engine_at(Path(sys.argv[1]))
        SshLab.build(Topology(5), lambda _: engine, machines=machines)
    except HarnessError as error:
        print(json.dumps(str(error)))
"""


@pytest.fixture(scope="module")
def machines(stable: Engine) -> Iterator[SshMachines]:
    with ssh_machines(["rack1", "rack2", "rack3"]) as made:
        made.lend(stable)
        yield made


@pytest.fixture
def untouched(machines: SshMachines) -> Iterator[None]:
    """No link, process or lab is on any machine after the test that was not before it."""
    yield
    wait_for(
        lambda: not left(machines) or NotYet(str(left(machines))),
        state="the machines to be as before",
        within=20,
        every=0.2,
    )


def left(machines: SshMachines) -> list[Any]:
    """What of a lab is on the machines."""
    return [
        what
        for machine in machines.machines
        for what in (
            [link for link in machine.links() if link not in ("lo", "eth0")],
            machine.processes(),
            list((machine.files / "labs").glob("*")),
        )
        if what
    ]


def run(machines: SshMachines, *argv: str, **popen: object) -> subprocess.Popen[bytes]:
    """Start the harness where the machines can be reached from."""
    return machines.controller.popen(
        [sys.executable, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **popen
    )


@pytest.mark.parametrize("user", USERS)
def test_a_swarm_on_three_machines_survives_its_leader(
    user: str, machines: SshMachines, untouched: None, tmp_path: Path
) -> None:
    scenario = tmp_path / "test_machines.py"
    scenario.write_text(SCENARIO)
    reports = tmp_path / "reports"
    ended = run(
        machines,
        *("-m", "harness.cli", "run", str(scenario), "--lab", "ssh"),
        *("--inventory", str(machines.inventory(user=user)), "--reports", str(reports)),
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
    )
    said = ended.communicate(timeout=900)[0].decode()
    assert ended.returncode == 0, said
    (journal,) = reports.glob("latest/trials/*/journal.jsonl")
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    proven = {e["id"].rpartition("-")[0] for e in entries if e["kind"] == "fault.evidence"}
    assert proven == {
        *("network-cut", "network-loss", "containerd-killed", "node-killed"),
        "dockerd-killed",
    }, said
    watched = {e["machine"]: e["kind"] for e in entries if e["kind"].startswith("machine.")}
    kind = "machine.cpu" if kernel_counts_waiting() else "machine.unwatched"
    assert watched == dict.fromkeys(("rack1", "rack2", "rack3"), kind)
    logs = {log.name for log in journal.parent.glob("logs/*.log") if log.stat().st_size}
    assert logs == {"m1.log", "m2.log", "m3.log"}


def kernel_counts_waiting() -> bool:
    """Return whether this kernel, which is that of all machines here, says who waits for a CPU."""
    pressure = Path("/proc/pressure/cpu")
    return pressure.exists() and "full " in pressure.read_text()


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("of", ["harness", "connection"])
def test_a_lab_ends_with_the_harness_or_its_connection(
    of: str, user: str, machines: SshMachines, untouched: None, stable: Engine
) -> None:
    maker = run(machines, "-c", STAYS, str(machines.inventory(user=user)), str(stable.rootfs))
    with maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == b"up\n"
        assert left(machines)
        if of == "harness":
            maker.kill()
        else:
            sessions = sshd_sessions(machines, user)
            assert sessions
            for pid in sessions:
                with suppress(ProcessLookupError):  # one may end with another
                    os.kill(pid, signal.SIGKILL)
            wait_for(
                lambda: not left(machines) or NotYet(str(left(machines))),
                state="the lab to end with its connection",
                within=20,
                every=0.2,
            )
            maker.kill()


def sshd_sessions(machines: SshMachines, user: str) -> list[int]:
    """Pids of the processes that serve a user's connections, below each machine's sshd."""
    # what they call themselves up to OpenSSH 9.7, and since
    names = (f"sshd: {user}".encode(), f"sshd-session: {user}".encode())
    inits = {machine.pid_namespace() for machine in machines.machines}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            serves = (process / "cmdline").read_bytes().startswith(names)
            if serves and (process / "ns/pid").readlink() in inits:
                found.append(int(process.name))
        except OSError:  # it ended just now
            continue
    return found


Change = Callable[[str, SshMachines, Path], str]


def stranger(text: str, machines: SshMachines, folder: Path) -> str:
    """Another key than the machines know."""
    key = folder / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return text.replace(str(machines.key), str(key))


def changed(text: str, machines: SshMachines, folder: Path) -> str:
    """The first machine is known by the host key of the second."""
    first, second, _ = machines.machines
    known = folder / "changed"
    key = (second.etc / "ssh/ssh_host_ed25519_key.pub").read_text()
    known.write_text(f"{first.address} {key}")
    return text.replace(str(machines.folder / "known_hosts"), str(known))


def unknown(text: str, machines: SshMachines, folder: Path) -> str:
    """No machine is known."""
    known = folder / "unknown"
    known.write_text("")
    return text.replace(str(machines.folder / "known_hosts"), str(known))


def silent(text: str, machines: SshMachines, folder: Path) -> str:
    """Nobody listens at the port."""
    return text.replace("[[machine]]\n", "[[machine]]\nport = 2\n", 1)


def ordinary(text: str, machines: SshMachines, folder: Path) -> str:
    """The user is let in, and cannot become root."""
    return f'user = "{VISITOR}"\n{text}'


BAD: list[tuple[Change, str]] = [
    (stranger, "it refuses the key of this user"),
    (ordinary, "its user is not root, and sudo wants a password or refuses"),
    (changed, "its host key is not the one that is known"),
    (unknown, "its host key is not known"),
    (silent, "machine rack1 (198.18.0.1 port 2) cannot be reached"),
    (lambda text, *_: text, "5m needs 5 machines, and the inventory lists 3"),
]


def test_what_cannot_be_used_is_refused_in_words_and_not_touched(
    machines: SshMachines, untouched: None, tmp_path: Path, stable: Engine
) -> None:
    good = machines.inventory().read_text()
    paths = []
    for number, (change, _) in enumerate(BAD):
        path = tmp_path / f"{number}.toml"
        path.write_text(change(good, machines, tmp_path))
        paths.append(str(path))
    before = [sorted(machine.files.rglob("*")) for machine in machines.machines]
    asked = run(machines, "-c", ASKS, str(stable.rootfs), *paths)
    answers = asked.communicate(timeout=300)[0].decode().splitlines()
    for (_, sentence), answer in zip(BAD, map(json.loads, answers), strict=True):
        assert sentence in answer
        assert "\n  -> " in answer or "cannot be reached" in answer
    machines.machines[1].run("rm", "/etc/swarm-chaos-node")
    try:
        asked = run(machines, "-c", ASKS, str(stable.rootfs), str(machines.inventory()))
        (answer,) = asked.communicate(timeout=300)[0].decode().splitlines()
    finally:
        machines.machines[1].run("touch", "/etc/swarm-chaos-node")
    assert "machine rack2 does not say that it may be used" in answer
    assert [sorted(machine.files.rglob("*")) for machine in machines.machines] == before
