"""However a lab's maker dies, nothing of the lab outlives it by more than a moment."""

from __future__ import annotations

import math
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from optionals import not_none
from processes import all_pids, proc_bytes, proc_text, running_with

from harness.engine import Engine
from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration

MOMENTS = 3  # in each stage of its life
STAGES = ["go", "built", "formed", "injected", "closed"]
GONE_WITHIN = 10.0  # seconds; an undisturbed machine takes less than one

#: Builds a lab whose id is given, forms a swarm, kills and revives nodes; a line per stage. With
#: "stays" it goes no further than the swarm.
MAKER = """
import sys
from pathlib import Path
from harness.engine import engine_at
from harness.faults import Faults
from harness.lab import NamespacesLab, Topology, local_lab
from harness.swarm import Swarm
from harness.trial import EngineFacts, Trial, TrialInputs

rootfs, lab_id, folder, *stays = sys.argv[1:]
local_lab.secrets.token_hex = lambda _: lab_id
engine = engine_at(Path(rootfs))
facts = EngineFacts(name="", version=engine.version, source="", digest="")
trial = Trial(Path(folder), TrialInputs(
    scenario="", engine=facts, topology="", lab="", kernel="", clock="real", seed=1))
print("go", flush=True)
with NamespacesLab.build(Topology(1, 1), lambda _: engine) as lab:
    faults = Faults(trial, lab)
    print("built", flush=True)
    lab.client_host().popen(["sleep", "1000"])
    Swarm.form(lab)
    print("formed", flush=True)
    if stays:
        sys.stdin.read()
    with (
        faults.network.cut(lab.node("w1"), plane="control"),
        faults.network.rate(lab.node("m1"), 1e6),
        faults.kill_dockerd(lab.node("w1")),
        faults.kill_node(lab.node("m1")),
    ):
        print("injected", flush=True)
    lab.node("m1").run(["sh", "-c", "tc qdisc add dev eth0 root tbf rate 1mbit burst 10k "
                        "latency 1s; iptables -A INPUT -s 192.0.2.1 -j DROP"], check=False)
print("closed", flush=True)
"""


class Made:
    """A maker under way, and what can be found of its lab."""

    def __init__(self, engine: Engine, number: int, tmp_path: Path, labs: Path, *more: str) -> None:
        self.lab_id = f"{0xDEAD0000 + os.getpid() % 4096 * 16 + number % 16:08x}"
        self.labs = labs
        self.folder = labs / self.lab_id
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", MAKER, str(engine.rootfs), self.lab_id),
                *(str(tmp_path / "trial"), *more),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "SWARM_CHAOS_LABS": str(labs)},
        )
        self.heard = b""
        assert self.hear(b"go", 60), not_none(self.process.stderr).read().decode()
        self.began = time.monotonic()

    def hear(self, word: bytes, within: float) -> bool:
        give_up = time.monotonic() + within
        while word not in self.heard.split():
            left = give_up - time.monotonic()
            if left <= 0 or not select.select([not_none(self.process.stdout)], [], [], left)[0]:
                return False
            if not (chunk := os.read(not_none(self.process.stdout).fileno(), 4096)):
                return False
            self.heard += chunk
        return True

    def processes(self) -> Any:
        """Pids of what runs for this lab: by environment, command line or group."""
        return list(running_with(self.lab_id.encode(), os.fsencode(self.labs)))

    def of_nodes(self) -> list[int]:
        """Those of its processes that are in the lab's own pid namespaces, as nodes are."""
        return [pid for pid in self.processes() if pid_namespace(pid) != pid_namespace("self")]

    def namespaces(self) -> Any:
        """The namespaces in which its processes are and this one is not."""
        found = set()
        for pid in self.processes():
            found |= links(f"/proc/{pid}/ns")
        return found - links("/proc/self/ns")

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        self.process.wait()
        not_none(self.process.stdin).close()
        not_none(self.process.stdout).close()
        not_none(self.process.stderr).close()


def pid_namespace(pid: int | str) -> str:
    """The pid namespace of a process; that of this one for one that is gone."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return pid_namespace("self")


def links(folder: str) -> Any:
    try:
        return {str(link.readlink()) for link in Path(folder).iterdir()}
    except OSError:
        return set()


def namespaces_of_before(moment: float) -> Any:
    """The namespaces of the processes that began before a moment of the boot clock.

    The kernel gives the number of a namespace that is gone to the next one, which is another's:
    what the other lane of tests starts meanwhile is no part of the lab.
    """
    found = set()
    for pid in all_pids():
        if began(pid) < moment:
            found |= links(f"/proc/{pid}/ns")
    return found


def began(pid: int) -> float:
    """When a process began, by the boot clock; infinity if it is gone."""
    _, _, fields = proc_text(pid, "stat").rpartition(") ")
    return int(fields.split()[19]) / os.sysconf("SC_CLK_TCK") if fields else math.inf


def groups_of(lab_id: Any) -> Any:
    """The lab's groups in all hierarchies, the host's own mounts being what is looked at."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    roots = [Path(m[1]) for m in mounts if m[2] in ("cgroup", "cgroup2")]
    return [str(g) for root in roots for g in root.glob(f"swarm-chaos/{lab_id}")]


def left_of(made: Made, namespaces: Any, before: float = math.inf) -> Any:
    """What is left of a lab, each thing in words; of namespaces, from before a moment."""
    left = [f"process {pid}" for pid in made.processes()]
    left += [f"namespace {name}" for name in namespaces & namespaces_of_before(before)]
    left += [f"group {group}" for group in groups_of(made.lab_id)]
    left += [f"folder {path}" for path in made.labs.glob("*")]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    left += [f"mount {line}" for line in mounts if made.lab_id in line or str(made.labs) in line]
    return left


def wait_until_nothing_is_left(made: Made, namespaces: Any = frozenset()) -> None:
    give_up = time.monotonic() + GONE_WITHIN
    killed = time.clock_gettime(time.CLOCK_BOOTTIME)
    while left := left_of(made, namespaces, killed):
        assert time.monotonic() < give_up, left
        time.sleep(0.05)


@pytest.fixture
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A short path: unix sockets must fit below it."""
    folder = Path(f"/var/tmp/sc-{os.getpid()}")
    folder.mkdir(mode=0o700)
    yield folder
    shutil.rmtree(folder)


def test_kill_9_at_random_moments_leaves_nothing(
    stable: Engine, tmp_path: Path, labs: Path, host_state: Callable[..., dict[str, Any]]
) -> None:
    before = host_state()

    whole = Made(stable, 0, tmp_path / "whole", labs)
    reached = {"go": 0.0}
    for stage in STAGES[1:]:
        assert whole.hear(stage.encode(), 120), not_none(whole.process.stderr).read().decode()
        reached[stage] = time.monotonic() - whole.began
    whole.close()
    wait_until_nothing_is_left(whole)

    chance = random.Random(20261123)
    for number, (stage, next_stage) in enumerate(list(pairwise(STAGES)) * MOMENTS, start=1):
        # Counted from the stage's own beginning: the next life may be quicker than the whole one.
        moment = chance.uniform(0.0, reached[next_stage] - reached[stage])
        made = Made(stable, number, tmp_path / str(number), labs)
        assert made.hear(stage.encode(), 120), not_none(made.process.stderr).read().decode()
        made.hear(b"closed", moment)
        namespaces = made.namespaces()
        made.kill()
        try:
            wait_until_nothing_is_left(made, namespaces)
        except AssertionError as error:
            raise AssertionError(f"killed {moment:.3f} s after {stage!r}, left: {error}") from None
    after = host_state()
    for state in (before, after):
        del state["groups"]  # ours are looked for by name, others may be at work
    assert after == before


def test_when_the_janitor_is_killed_the_nodes_die_and_clean_removes_the_rest(
    stable: Engine, tmp_path: Path, labs: Path
) -> None:
    made = Made(stable, 0, tmp_path, labs, "stays")
    assert made.hear(b"formed", 120), not_none(made.process.stderr).read().decode()
    seen = {line.split()[0] for line in left_of(made, made.namespaces())}
    assert seen == {"process", "namespace", "group", "folder"}, "what is looked for is there"
    assert made.of_nodes()
    inside = [pid for pid in made.processes() if pid != made.process.pid]
    [janitor] = [pid for pid in inside if b"janitor.py" in proc_bytes(pid, "cmdline")]
    living = clean(labs)
    assert made.lab_id not in living.stdout, "a living lab is left alone"
    assert set(made.processes()) >= {janitor}

    os.kill(janitor, signal.SIGKILL)
    made.kill()
    wait_for(
        lambda: not made.of_nodes() or NotYet(f"{made.of_nodes()} run"),
        state="the nodes to die with their janitor",
        within=GONE_WITHIN,
    )
    listed = clean(labs, "--dry-run")
    assert f"would remove lab {made.folder}" in listed.stdout
    assert made.folder.exists()
    removed = clean(labs)
    assert removed.returncode == 0, removed.stderr
    assert f"removed lab {made.folder}" in removed.stdout
    assert f"/swarm-chaos/{made.lab_id}" in removed.stdout
    wait_until_nothing_is_left(made)
    assert made.lab_id not in clean(labs).stdout


def clean(labs: Path, *options: str) -> subprocess.CompletedProcess[Any]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli.main", "clean", *options],
        env={**os.environ, "SWARM_CHAOS_LABS": str(labs)},
        capture_output=True,
        text=True,
        check=False,
    )
