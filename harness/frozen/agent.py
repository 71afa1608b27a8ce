"""The guest's program: form the swarm, be frozen, and run each trial that thaws it.

Started once by the freeze, as ``python3 -m harness.frozen.agent``. What a trial needs of third
parties is imported before the freeze; the harness itself a trial brings along, and it replaces
the one that was frozen.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from harness.engine import Engine, engine_at
from harness.lab import NamespacesLab, Topology
from harness.lab.graph import harvest
from harness.microvm.guest import say, serve
from harness.swarm import Swarm
from harness.swarm.seeds import load_into

PLAN_VARIABLE = "SWARM_CHAOS_FREEZE"
SEEDS = Path("/var/lib/swarm-chaos/seeds")
LAB_LINK = Path("/run/swarm-chaos-lab")

#: Slow to import under emulation; a trial finds them in memory.
_IMPORTED_BEFORE = (
    "concurrent.futures.thread",
    "dnslib",
    "docker",
    "filelock",
    "hashlib",
    "msgspec",
    "packaging.requirements",
    "packaging.version",
    "platformdirs",
    "psutil",
    "pyroute2",
    "pytest",
    "_pytest.junitxml",
    "_pytest.terminal",
    "_pytest.warnings",
    "requests",
    "rich.console",
    "statistics",
    "testinfra.host",
    "tomllib",
)


def prepare() -> None:
    """Bring the guest to the state that is worth keeping: a swarm, formed and quiet."""
    plan = json.loads(os.environ[PLAN_VARIABLE])
    engines = {node: engine_at(Path(at)) for node, at in plan["engines"].items()}
    for name in _IMPORTED_BEFORE:
        importlib.import_module(name)
    seeds: dict[Path, Path] = {}
    for engine in engines.values():
        if engine.rootfs not in seeds:
            say(f"swarm-chaos: loading the workload images into engine {engine.version}")
            seeds[engine.rootfs] = _seed(engine, Path(plan["archive"]))
    topology = Topology.parse(plan["topology"])
    say(f"swarm-chaos: starting {topology}")
    lab = NamespacesLab.build(
        topology, lambda node: engines[node], seed_for=lambda engine: seeds[engine.rootfs]
    )
    say("swarm-chaos: forming the swarm")
    Swarm.form(lab)
    lab.site("client")
    lab.own_kernel = True
    lab.describe()
    LAB_LINK.symlink_to(lab.keeper.lab_dir)
    lab.release()
    say("swarm-chaos: formed")


def _seed(engine: Engine, archive: Path) -> Path:
    seed = SEEDS / engine.digest[:16]
    with NamespacesLab.build(Topology(), lambda _: engine) as lab:
        node = lab.node("m1")
        load_into(node, archive)
        node.dockerd.stop()
        harvest(node.dir / "data", seed)
    return seed


def run(payload: Path, inputs: dict[str, Any], out: Path) -> int:
    """Do the trial's errand with the code that it brought along."""
    frozen_home = str(Path.cwd())
    for name in [name for name in sys.modules if name.partition(".")[0] == "harness"]:
        del sys.modules[name]
    sys.path[:] = [str(payload), *(p for p in sys.path if p not in ("", frozen_home))]
    os.chdir(payload)
    # Children of the trial (Locust) must find the same code.
    kept = os.environ.get("PYTHONPATH", "").split(":")
    os.environ["PYTHONPATH"] = ":".join([str(payload), *(p for p in kept if p != frozen_home)])
    errands = importlib.import_module("harness.frozen.errands")
    code: int = errands.do(inputs, out)
    return code


def main() -> NoReturn:
    """Prepare, freeze, and serve every thaw."""
    serve(prepare, run)


if __name__ == "__main__":
    main()
