"""How often the oracles raise a false alarm, and what asking them costs.

A trial is an ordinary change of a swarm in which nothing is broken: more or fewer replicas, all
tasks replaced, a node drained and back, a dockerd restarted in good order. Whatever an oracle then
finds wrong is a false alarm, or a bug of the engine.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.bench.metric import Metric, median_of
from harness.bench.trials import open_trial
from harness.engine import Engine
from harness.lab import NamespacesLab, Topology
from harness.probes.oracles.standing import StandingOracles
from harness.swarm import APP_IMAGE, APP_PORT, Deployment, Service, Swarm, Workload
from harness.trial import Measure

_REPLICAS = range(2, 7)


def metrics(
    engine: Engine, seeds: Path | None, *, trials: int, say: Callable[[str], None]
) -> Iterator[Metric]:
    """Run so many trials on one swarm of three managers and two workers; ``say`` gets alarms."""
    took: list[float] = []
    rested: list[float] = []
    alarms = 0
    with NamespacesLab.build(
        Topology(3, 2), lambda _node: engine, seed_for=lambda _engine: seeds
    ) as lab:
        swarm = Swarm.form(lab, seed=1)
        app = Service("app", APP_IMAGE, ("web",), replicas=4, port=APP_PORT)
        web = swarm.deploy(Workload("web", ("web",), (app,)))
        for number in range(trials):
            change = changes(swarm, web, random.Random(number))
            broken, asking, rest = _trial(lab, swarm, change)
            took.append(asking)
            rested.append(rest)
            alarms += bool(broken)
            for measure in broken:
                say(f"trial {number}, {change.__name__}: {measure}")
    name = f"oracles.{engine.version}"
    yield Metric(f"{name}.trials", trials, "1")
    yield Metric(f"{name}.alarms", alarms, "1")
    yield median_of(f"{name}.rest", rested, "s")
    yield median_of(f"{name}.asked", took, "s")


def changes(swarm: Swarm, web: Deployment, choice: random.Random) -> Callable[[], None]:
    """Return one ordinary change of a swarm, chosen at random."""

    def scaled() -> None:
        web.scale("app", choice.choice(_REPLICAS))

    def redeployed() -> None:
        web.redeploy("app")

    def drained() -> None:
        node = choice.choice(swarm.workers)
        swarm.set_availability(node, "drain")
        swarm.set_availability(node, "active")

    def restarted() -> None:
        node = choice.choice([*swarm.managers, *swarm.workers])
        node.dockerd.stop()
        node.dockerd.start()
        node.dockerd.wait_ready()

    return choice.choice([scaled, redeployed, drained, restarted])


def _trial(
    lab: NamespacesLab, swarm: Swarm, change: Callable[[], None]
) -> tuple[Sequence[Measure], float, float]:
    """Return what is broken after a change, the seconds until it was said, and those to rest."""
    with tempfile.TemporaryDirectory() as folder:
        trial = open_trial(Path(folder, "trial"), lab.node("m1").engine)
        rest: list[float] = []
        trial.journal.listen(
            lambda entry: rest.append(entry["seconds"]) if entry["kind"] == "oracles.rest" else None
        )
        oracles = StandingOracles(lab.nodes.values(), trial)
        change()
        began = time.monotonic()
        oracles.record(swarm, {})
        asked = time.monotonic() - began
        trial.journal.close()
        return trial.measures.broken(), asked, rest[0]
