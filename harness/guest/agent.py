"""The guest's program: form the swarm, be frozen, warm up, and run each trial that thaws it.

Started once by the freeze, as ``python3 -m harness.guest.agent``. What a trial needs of third
parties is imported before the freeze. What this program imports of the harness is in the
snapshot's key, so a trial that brings the same finds it in memory. All else a trial brings along.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from harness.engine import Engine, engine_at
from harness.errors import HarnessError
from harness.guest.contract import (
    ARCHIVE,
    FREEZE_PROGRESS,
    FREEZE_VARIABLE,
    FROZEN_WITH,
    LAB_LINK,
)
from harness.lab import NamespacesLab, Topology
from harness.lab.image_seed import capture_seed
from harness.lab.warm_process import keep_warm
from harness.swarm import Swarm
from harness.swarm.image_seed import load_into
from harness.swarm.workload import workload_from
from harness.vm.guest_init import say, serve

_SEEDS = Path("/var/lib/swarm-chaos/seeds")

#: What a thawed guest runs, by its name from here: what is imported above is frozen, and this is
#: the trial's.
_COMMANDS = ".commands"

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

#: Set before Locust is imported, as the generator itself would.
_GENERATOR_ENVIRONMENT = {"LOCUST_SKIP_MONKEY_PATCH": "1"}


def prepare() -> None:
    """Bring the guest to the state that is worth keeping: a swarm, formed and quiet."""
    plan = json.loads(os.environ[FREEZE_VARIABLE])
    engines = {node: engine_at(Path(at)) for node, at in plan["engines"].items()}
    for name in _IMPORTED_BEFORE:
        importlib.import_module(name)
    keep_warm(_GENERATOR_IMPORTS, _GENERATOR_ENVIRONMENT)
    seeds: dict[Path, Path] = {}
    for engine in engines.values():
        if engine.rootfs not in seeds:
            _report(f"loading the workload images into engine {engine.version}")
            seeds[engine.rootfs] = _seed(engine, Path(plan["archive"]))
    topology = Topology.parse(plan["topology"])
    _report(f"starting {topology}")
    lab = NamespacesLab.build(
        topology, lambda node: engines[node], seed_for=lambda engine: seeds[engine.rootfs]
    )
    _report("forming the swarm")
    Swarm.form(lab)
    lab.client_host("client")
    lab.own_kernel = True
    lab.describe()
    Path(LAB_LINK).symlink_to(lab.folder)
    lab.release()
    _report("formed")


def warm_up(inputs: dict[str, Any]) -> None:
    """Bring a thawed swarm closer to where trials begin: reseeded, or serving a workload, or both.

    ``inputs``: ``seed``, ``reseed`` (whether to), and ``serving``, a workload's facts or None.
    """
    lab = NamespacesLab.attach(Path(LAB_LINK).resolve())
    swarm = Swarm(lab, seed=int(inputs["seed"]))
    try:
        if inputs.get("reseed", True):  # recordings from before it could be left out lack it
            swarm.reseed()
        if inputs["serving"] is not None:
            swarm.deploy(workload_from(inputs["serving"]))
    except HarnessError as error:
        _report(error.what)
        raise
    lab.describe()
    lab.release()


def _report(line: str) -> None:
    say(f"{FREEZE_PROGRESS}{line}")


def _seed(engine: Engine, archive: Path) -> Path:
    seed = _SEEDS / engine.digest[:16]
    with NamespacesLab.build(Topology(), lambda _: engine) as lab:
        node = lab.node("m1")
        load_into(node, archive)
        node.dockerd.stop()
        capture_seed(node.here.dir / "data", seed)
    return seed


def run(payload: Path, inputs: dict[str, Any], out: Path) -> int:
    """Run what ``inputs`` name with the code in ``payload``; the exit code.

    Modules that were frozen stay in memory if the payload brings the same ones. It does not when
    a recorded trial is sent into a swarm that was frozen later: then all the code is the payload's.
    """
    frozen_home = str(Path.cwd())
    archive = payload / ARCHIVE
    if _brings_what_was_frozen(payload):
        brought = [str(archive), str(payload)]
        _find_the_rest_in(archive)
    else:
        if archive.exists():  # some modules read files next to them
            shutil.unpack_archive(archive, payload)
        brought = [str(payload)]
        _forget_harness()
    sys.path[:] = [*brought, *(p for p in sys.path if p not in ("", frozen_home))]
    os.chdir(payload)
    # Children of the trial (Locust) must find the same code.
    others = os.environ.get("PYTHONPATH", "").split(":")
    os.environ["PYTHONPATH"] = ":".join([*brought, *(p for p in others if p != frozen_home)])
    code: int = importlib.import_module(_COMMANDS, __package__).do(inputs, out)
    return code


def _brings_what_was_frozen(payload: Path) -> bool:
    note = payload / FROZEN_WITH
    frozen: str = json.loads(os.environ[FREEZE_VARIABLE])["sources"]
    return note.exists() and note.read_text() == frozen


def _find_the_rest_in(archive: Path) -> None:
    """Have the packages in memory find the modules that were not frozen in an archive.

    They say that they come from there, too: what starts a child (Locust, a server) gives it the
    place of ``harness`` to import from, and where the guest was frozen there is only a part of it.
    """
    for name, module in _harness_modules().items():
        if hasattr(module, "__path__"):
            folder = archive.joinpath(*name.split("."))
            module.__path__ = [str(folder)]
            module.__file__ = str(folder / "__init__.py")


def _forget_harness() -> None:
    for name in _harness_modules():
        del sys.modules[name]


def _harness_modules() -> dict[str, ModuleType]:
    return {n: module for n, module in sys.modules.items() if n.partition(".")[0] == "harness"}


def main() -> NoReturn:
    """Prepare, freeze, warm up, and serve every thaw."""
    serve(prepare, run, warm_up=warm_up)


if __name__ == "__main__":
    main()
