"""The guest's program: form the swarm, be frozen, and run each trial that thaws it.

Started once by the freeze, as ``python3 -m harness.guest.agent``. What a trial needs of third
parties is imported before the freeze, and so are the rooms of the harness that the freeze itself
runs: the snapshot's key has their sources in it, so they are the trial's own. All else of the
harness a trial brings along.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

from harness.engine import Engine, engine_at
from harness.lab import NamespacesLab, Topology
from harness.lab.image_seed import capture_seed
from harness.lab.warm_process import keep_warm
from harness.swarm import Swarm
from harness.swarm.image_seed import load_into
from harness.vm.guest_init import say, serve

PLAN_VARIABLE = "SWARM_CHAOS_FREEZE"
SEEDS = Path("/var/lib/swarm-chaos/seeds")
LAB_LINK = Path("/run/swarm-chaos-lab")

#: The harness in a payload: a zip to import from.
ARCHIVE = "harness.zip"

#: In a payload: the digest of the sources that the guest it is for was frozen with.
FROZEN_WITH = "frozen-with"

#: Rooms and modules that take part in a freeze as a whole: their sources are in the snapshot's
#: key, they need nothing of the harness but each other, and a trial finds them in memory. A
#: change in one of them makes a new snapshot, a change anywhere else does not.
FREEZING = ("errors", "wait", "files", "images", "engine", "lab", "swarm", "trial")

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
    *(f"harness.{name}" for name in FREEZING),
)


#: What the generator of a load imports of third parties; a process of its own waits with it.
_GENERATOR_IMPORTS = (
    "gevent.event",
    "gevent.os",
    "gevent.socket",
    "geventhttpclient.response",
    "locust",
    "locust.env",
    "locust.log",
    "locust.stats",
    "msgspec",
)

#: Said to Locust before it is imported, as the generator itself would.
_GENERATOR_ENVIRONMENT = {"LOCUST_SKIP_MONKEY_PATCH": "1"}


def prepare() -> None:
    """Bring the guest to the state that is worth keeping: a swarm, formed and quiet."""
    plan = json.loads(os.environ[PLAN_VARIABLE])
    engines = {node: engine_at(Path(at)) for node, at in plan["engines"].items()}
    for name in _IMPORTED_BEFORE:
        importlib.import_module(name)
    keep_warm(_GENERATOR_IMPORTS, _GENERATOR_ENVIRONMENT)
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
    lab.client_host("client")
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
        capture_seed(node.dir / "data", seed)
    return seed


def run(payload: Path, inputs: dict[str, Any], out: Path) -> int:
    """Do the trial's errand with the code that it brought along.

    Rooms that were frozen stay in memory if they are the trial's own. They are not if a recorded
    trial is sent into a swarm that was frozen later: then all the code is what it brought.
    """
    frozen_home = str(Path.cwd())
    if _brings_what_was_frozen(payload):
        brought = [str(payload / ARCHIVE), str(payload)]
        kept = {name: sys.modules[f"harness.{name}"] for name in FREEZING}
    else:
        if (payload / ARCHIVE).exists():  # some of it finds files of its own beside itself
            shutil.unpack_archive(payload / ARCHIVE, payload)
        brought = [str(payload)]
        kept = {}
    _forget_all_but(kept)
    sys.path[:] = [*brought, *(p for p in sys.path if p not in ("", frozen_home))]
    os.chdir(payload)
    # Children of the trial (Locust) must find the same code.
    others = os.environ.get("PYTHONPATH", "").split(":")
    os.environ["PYTHONPATH"] = ":".join([*brought, *(p for p in others if p != frozen_home)])
    package = importlib.import_module("harness")
    for name, module in kept.items():
        setattr(package, name, module)
    jobs = importlib.import_module("harness.guest.commands")
    code: int = jobs.do(inputs, out)
    return code


def _brings_what_was_frozen(payload: Path) -> bool:
    told = payload / FROZEN_WITH
    frozen: str = json.loads(os.environ[PLAN_VARIABLE])["sources"]
    return told.exists() and told.read_text() == frozen


def _forget_all_but(kept: Collection[str]) -> None:
    """Leave of the imported harness what lies under the names in ``kept``."""
    for name in list(sys.modules):
        package, _, rest = name.partition(".")
        if package == "harness" and rest.partition(".")[0] not in kept:
            del sys.modules[name]


def main() -> NoReturn:
    """Prepare, freeze, and serve every thaw."""
    serve(prepare, run)


if __name__ == "__main__":
    main()
