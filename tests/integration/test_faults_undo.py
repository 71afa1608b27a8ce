"""On real nodes: whatever is injected, healed or dies, it ends in the state it began from.

The many paths are in tests/unit/test_faults_undo.py, on a model; this is a sample of them. Every
step is a process of its own, so nothing is healed out of a memory, and some are killed half-way.
A longer search: ``UNDO_PATHS=100 .venv/bin/pytest -x tests/integration/test_faults_undo.py``.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from processes import proc_text, state_letter

from harness.engine import Engine
from harness.errors import HarnessError
from harness.faults.catalogue import kind_of
from harness.lab import NamespacesLab, Node, Topology
from harness.manual import InjectedStore, ManualSession, keep_open
from harness.manual.open_lab import OpenLab
from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration

FAULTS = {
    "dockerd-killed": ("m1", {}),
    "node-killed": ("m1", {}),
    "dockerd-paused": ("m1", {}),
    "node-paused": ("m1", {}),
    "containerd-killed": ("m1", {}),
    "network-cut": ("m1", {"plane": "gossip"}),
    "network-loss": ("m1 -> client", {"share": "30%"}),
    "network-rate": ("m1", {"rate": "10mbit"}),
    "firewall-rules-lost": ("m1", {}),
    "cpu-hogged": ("m1", {"processes": "1"}),
    "memory-held": ("m1", {"amount": "8MiB"}),
    "memory-limited": ("m1", {"limit": "1GiB"}),
    "descriptors-exhausted": ("m1", {}),
    "processes-exhausted": ("m1", {}),
    "dockerd-restarted": ("m1", {"flags": "--debug"}),
    "dockerd-signalled": ("m1", {}),
    "dockerd-crashed": ("m1", {}),
    "host-rebooted": ("m1", {"off": "1s"}),
    "host-shut-down": ("m1", {}),
    "cpu-limited": ("m1", {"share": "30%"}),
    "dockerd-memory-limited": ("m1", {"room": "64MiB"}),
    "own-disk": ("m1", {}),
    "disk-full": ("m1", {}),
    "disk-slowed": ("m1", {}),
    "mtu-black-hole": ("m1 -> client", {}),
    "conntrack-flushed": ("m1", {}),
}

#: How many paths; some 6 s each.
PATHS = int(os.environ.get("UNDO_PATHS", "8"))

LIMITS = {
    *("memory.max", "memory.high", "memory.limit_in_bytes", "pids.max", "cgroup.freeze"),
    *("cpu.max", "cpu.weight", "cpu.shares", "cpu.cfs_quota_us", "freezer.state"),
}


@pytest.fixture(scope="module")
def opened(stable: Engine) -> Iterator[OpenLab]:
    """A lab of one node that is held open, with a client on the fabric."""
    with NamespacesLab.build(Topology(), lambda _: stable) as lab:
        lab.client_host("client")
        with keep_open(lab) as opened:
            yield opened


def state_of(opened: OpenLab) -> dict[str, Any]:
    """All of a lab that a fault could leave changed."""
    with opened.entered() as lab:
        node = lab.node("m1")
        fabric = f"--net=/proc/{lab.here.keeper.keeper}/ns/net"
        rules = node.run(["iptables-save"]).text.splitlines()
        groups = files_of_groups(node)
        pids = {
            int(pid)
            for path, text in groups.items()
            if path.endswith("/cgroup.procs")
            for pid in text.split()
        }
        return {
            "answers": node.up and node.dockerd.ping(),
            "processes": sorted(proc_text(pid, "comm").strip() for pid in pids),
            "stopped": [pid for pid in pids if state_letter(pid) == "T"],
            "descriptors": limit_of(node.dockerd.pid, "Max open files"),
            "limits": {path: text for path, text in groups.items() if Path(path).name in LIMITS},
            "rules of the fabric": said("nsenter", fabric, "nft", "-s", "list", "ruleset"),
            "qdiscs of the fabric": sorted(said("nsenter", fabric, "tc", "qdisc").splitlines()),
            "qdiscs of the node": node.run(["tc", "qdisc"], check=False).text,
            "rules of the node": [re.sub(r"\[.*", "", r) for r in rules if not r.startswith("#")],
        }


def files_of_groups(node: Node) -> dict[str, str]:
    """What is in the files of the node's control groups that tell of it; no other lab's."""
    found = {}
    for top in node.here.groups.entry():
        for folder, _, names in os.walk(top):
            for name in LIMITS & set(names) | {"cgroup.procs"}:
                path = Path(folder, name)
                with suppress(OSError):  # the group of a program that has ended just now
                    found[str(path).partition("/swarm-chaos/")[2]] = path.read_text()
    return found


def limit_of(pid: Any, name: str) -> Any:
    [line] = [x for x in Path(f"/proc/{pid}/limits").read_text().splitlines() if x.startswith(name)]
    return line


def said(*argv: str) -> Any:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def starves(id: str) -> bool:  # noqa: A002 - as the store has it
    """Whether a fault takes from the node what a dockerd needs to do its part in another's heal."""
    return kind_of(id.rpartition("-")[0]).may_end_dockerd


def in_a_process(work: Callable[..., None], *, killed_after: Any = None) -> bool:
    """Do something in a child; False when that raised a HarnessError, or was killed before."""
    sys.stdout.flush()
    with warnings.catch_warnings():
        # Since Python 3.12: threads of pytest-xdist are not in the child, nor is what they hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 2
        try:
            work()
            code = 0
        except HarnessError as error:
            print(f"  [{error.what}]", flush=True)
            code = 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if killed_after is not None:
        time.sleep(killed_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 1, -signal.SIGKILL)
    return code == 0


class Undo:
    """Faults come and go, nodes and harnesses die; at the end all that is left is healed.

    Drawn from a seed and not by Hypothesis: that goes a failed path again to tell of it, and on a
    node which the failure has left broken the second time ends elsewhere, and hides the first.
    """

    def __init__(self, opened: OpenLab, seed: int) -> None:
        self.opened = opened
        self.random = random.Random(seed)
        self.before = state_of(opened)

    def injected(self) -> list[str]:
        return [each.id for each in InjectedStore(self.opened.folder).all()]

    def inject_one(self, name: str) -> None:
        with self.opened.entered() as lab, ManualSession(lab) as session:
            session.inject(name, *FAULTS[name])

    def heal_some(self, *ids: str) -> None:
        with self.opened.entered() as lab, ManualSession(lab) as session:
            session.heal(ids)

    def inject(self) -> None:
        name = self.random.choice(sorted(FAULTS))
        print(f"inject {name}")
        before = self.injected()
        if not in_a_process(lambda: self.inject_one(name)):
            assert self.injected() == before, f"{name} was refused and left something"

    def inject_and_be_killed(self) -> None:
        name, after = self.random.choice(sorted(FAULTS)), self.random.uniform(0.05, 0.6)
        print(f"inject {name}, killed after {after:.2f} s")
        in_a_process(lambda: self.inject_one(name), killed_after=after)

    def heal(self) -> None:
        if there := self.injected():
            chosen = self.random.choice(there)
            print(f"heal {chosen}")
            if not in_a_process(lambda: self.heal_some(chosen)):
                left = self.injected()
                starving = [each for each in left if each != chosen and starves(each)]
                assert chosen in left, f"{chosen} is forgotten and not healed"
                assert starving, f"{chosen} is not healed, and nothing hinders it"

    def heal_and_be_killed(self) -> None:
        if there := self.injected():
            chosen, after = self.random.choice(there), self.random.uniform(0.05, 0.6)
            print(f"heal {chosen}, killed after {after:.2f} s")
            in_a_process(lambda: self.heal_some(chosen), killed_after=after)

    def the_power_goes_and_comes_back(self) -> None:
        def blink() -> None:
            with self.opened.entered() as lab:
                node = lab.node("m1")
                if node.up:
                    node.kill()
                    node.start()

        print("the power goes")
        in_a_process(blink)

    def go(self, steps: int) -> None:
        """Do so many things, one after the other."""
        kinds = [
            *(self.inject, self.inject_and_be_killed, self.heal, self.heal_and_be_killed),
            self.the_power_goes_and_comes_back,
        ]
        for _ in range(steps):
            self.random.choice(kinds)()

    def end(self) -> None:
        """Heal all there is; the node is as it was."""
        print(f"heal {self.injected()}")
        assert in_a_process(self.heal_some)
        assert self.injected() == []
        # What a dockerd runs on the way up, iptables and the like, may be there still.
        wait_for(self.no_other_process, state="what runs to be what ran before", within=20)
        assert state_of(self.opened) == self.before

    def no_other_process(self) -> bool | NotYet:
        now, before = state_of(self.opened)["processes"], self.before["processes"]
        return now == before or NotYet(f"{now}, and before {before}")


@pytest.mark.parametrize("seed", range(PATHS))
def test_whatever_happens_it_ends_as_it_began(opened: OpenLab, seed: int) -> None:
    assert all(kind_of(name) for name in FAULTS)
    undo = Undo(opened, seed)
    try:
        undo.go(steps=6)
    finally:
        undo.end()
