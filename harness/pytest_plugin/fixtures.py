"""What a scenario gets in its hands; the one place that wires the rooms together.

``trial`` opens the record, ``lab`` the nodes, ``swarm`` forms them into one; ``load``,
``faults``, ``services``, the probes and ``measure`` act on it. All of them belong to one trial.

What only some scenarios ask for is imported by the fixture that gives it: a guest is emulated, and
importing everything would take it longer than all else up to a scenario's first line.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.engine import Engine, provide, resolve
from harness.images import Cache
from harness.lab import NamespacesLab, Node, Topology, probe_features
from harness.pytest_plugin.probe_bundle import Probes
from harness.swarm import Swarm, seed_for
from harness.trial import EngineFacts, Measures, Trial, TrialInputs

if TYPE_CHECKING:
    from harness.faults import Faults
    from harness.load import Load
    from harness.probes.api import Api
    from harness.probes.containers import Containers
    from harness.probes.discovery import Discovery
    from harness.probes.gossip import Gossip
    from harness.probes.leadership import Leadership
    from harness.probes.logs import DockerdLogs
    from harness.probes.memory import Memory
    from harness.probes.reachability import Reachability
    from harness.probes.tasks import Tasks
    from harness.services.services import Services

Say = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """One point of what a scenario is multiplied by."""

    engine: str
    seed: int

    def __str__(self) -> str:
        return f"{self.engine}-s{self.seed}"


@dataclass
class EngineStore:
    """Engines and seeds at hand for a whole session: each is provided once."""

    cache: Cache
    say: Say
    _engines: dict[str, Engine] = field(default_factory=dict)

    def engine(self, name: str) -> Engine:
        """The engine of this name, built if it must be."""
        if name not in self._engines:
            self._engines[name] = provide(resolve(name), self.cache, say=self.say)
        return self._engines[name]

    def seed(self, engine: Engine) -> Path | None:
        """What nodes with this engine start from: the workload images, loaded."""
        return seed_for(self.cache, say=self.say)(engine)


@dataclass
class Scene:
    """All of one trial that must be ended in order: made by the plugin, filled by fixtures."""

    point: Point
    engine_store: EngineStore
    topology: Topology
    lab_name: str
    attach: Path | None
    scenario: str
    control: bool
    options: dict[str, str]
    clock: str
    new_folder: Callable[[TrialInputs], Path]
    watch: Callable[[Trial], None]
    others: tuple[str, ...] = ()
    trial: Trial | None = None
    lab: NamespacesLab | None = None
    faults: Faults | None = None
    leadership: Leadership | None = None
    closing: list[Callable[[], None]] = field(default_factory=list)
    """What ends, or is written, when faults are healed and before the trial is judged."""
    stack: ExitStack = field(default_factory=ExitStack)

    def open_trial(self) -> Trial:
        """Open the record; the engine is provided first, for its version belongs to the inputs."""
        if self.attach is not None:
            self.lab = NamespacesLab.attach(self.attach.resolve())
            self.stack.callback(self.lab.release)
            engine = next(iter(self.lab.nodes.values())).engine
        else:
            engine = self.engine_store.engine(self.point.engine)
        inputs = TrialInputs(
            scenario=self.scenario,
            control=self.control,
            engine=EngineFacts(
                name=self.point.engine,
                version=engine.version,
                source=engine.source,
                digest=engine.digest,
            ),
            topology=str(self.topology),
            lab=self.lab_name,
            kernel=platform.release(),
            clock="virtual" if self.clock == "virtual" else "real",
            seed=self.point.seed,
            options=self.options,
        )
        self.trial = Trial(self.new_folder(inputs), inputs)
        self.watch(self.trial)
        return self.trial

    def open_lab(self) -> NamespacesLab:
        """Bring up the nodes, or find them in a guest that was thawed with them."""
        lab = self.lab
        if lab is None:
            engines = {place.name: self.point.engine for place in self.topology.places()}
            engines.update(self.topology.engines)
            lab = NamespacesLab.build(
                self.topology,
                lambda node: self.engine_store.engine(engines[node]),
                seed_for=self.engine_store.seed,
            )
            self.stack.callback(lab.close)
        self.lab = lab
        assert self.trial is not None
        self.trial.journal.write(
            "lab.ready",
            nodes={
                node.name: {
                    "address": node.address,
                    "engine": node.engine.version,
                    "planned_role": node.planned_role,
                }
                for node in lab.nodes.values()
            },
        )
        for warning in self.topology.warnings():
            self.trial.journal.write("note", text=warning)
        return lab

    def wind_down(self) -> None:
        """Heal what is still injected and collect what the trial leaves, before it is judged."""
        if self.faults is not None:
            self.faults.heal_all()
        if self.trial is None or self.lab is None:
            return
        if self.leadership is not None:
            self.leadership.save()
        for close in reversed(self.closing):
            close()
        self.lab.collect_logs(self.trial.folder / "logs")


SCENE = pytest.StashKey[Scene]()


@pytest.fixture
def point() -> Point:
    """Engine and seed of this trial; the plugin multiplies scenarios by it."""
    raise pytest.UsageError("a scenario's `point` comes from the plugin harness.pytest_plugin")


def scene_of(request: pytest.FixtureRequest) -> Scene:
    """The scene that the plugin has set for a test."""
    here: Scene = request.node.stash[SCENE]
    return here


@pytest.fixture
def trial(request: pytest.FixtureRequest, point: Point) -> Trial:  # noqa: ARG001 - multiplies it
    """The open trial: its clock, journal, doubts and folder."""
    return scene_of(request).open_trial()


@pytest.fixture
def lab(
    request: pytest.FixtureRequest,
    trial: Trial,  # noqa: ARG001 - the record is open before anything happens
) -> Iterator[NamespacesLab]:
    """The nodes, each with its dockerd answering."""
    scene = scene_of(request)
    with scene.stack:
        yield scene.open_lab()


@pytest.fixture
def swarm(request: pytest.FixtureRequest, lab: NamespacesLab, trial: Trial) -> Swarm:
    """The swarm of the scenario's topology, formed and ready."""
    if scene_of(request).attach is not None:
        swarm = Swarm(lab, journal=trial.journal, seed=trial.inputs.seed)
        swarm.reseed()
    else:
        swarm = Swarm.form(lab, journal=trial.journal, seed=trial.inputs.seed)
    trial.journal.write(
        "swarm.formed",
        leader=swarm.leader.name,
        managers=[node.name for node in swarm.managers],
        workers=[node.name for node in swarm.workers],
        mesh=probe_features().mesh,
    )
    return swarm


@pytest.fixture
def load(lab: NamespacesLab, trial: Trial) -> Load:
    """Locust, at a place of its own on the fabric."""
    from harness.load import Load

    return Load(lab.client_host("client"), trial)


@pytest.fixture
def faults(request: pytest.FixtureRequest, lab: NamespacesLab, trial: Trial) -> Faults:
    """Makes faults; what a scenario leaves injected is healed after it."""
    from harness.faults import Faults

    scene = scene_of(request)
    scene.faults = Faults(trial, lab)
    return scene.faults


@pytest.fixture
def leadership(request: pytest.FixtureRequest, swarm: Swarm, trial: Trial) -> Leadership:
    """Who leads, by each manager's own view."""
    from harness.probes.leadership import Leadership

    scene = scene_of(request)
    scene.leadership = Leadership(swarm.managers, trial)
    return scene.leadership


@pytest.fixture
def other_engines(request: pytest.FixtureRequest, trial: Trial) -> tuple[str, ...]:  # noqa: ARG001
    """The engines that the mark of the same name asks for, by name: none that a node has yet."""
    return scene_of(request).others


@pytest.fixture
def services(request: pytest.FixtureRequest, lab: NamespacesLab, trial: Trial) -> Services:
    """Outside services on the fabric: a GELF sink, a registry, a name server."""
    from harness.services.services import ServiceAssets, Services

    scene = scene_of(request)
    services = Services(lab, trial, ServiceAssets(scene.engine_store.cache, scene.engine_store.say))
    scene.closing.append(services.close)
    return services


@pytest.fixture
def memory(
    request: pytest.FixtureRequest,
    lab: NamespacesLab,  # noqa: ARG001 - it is read after the probe has ended
    trial: Trial,
) -> Memory:
    """What dockerds hold, by time, from ``memory.start(nodes)`` on."""
    from harness.probes.memory import Memory

    memory = Memory(trial)
    scene_of(request).closing.append(memory.save)
    return memory


@pytest.fixture
def containers(request: pytest.FixtureRequest, swarm: Swarm, trial: Trial) -> Containers:
    """Which tasks' containers truly run: what the other probes are held against."""
    from harness.probes.containers import Containers

    containers = Containers(_members(swarm), trial)
    scene_of(request).closing.append(containers.close)
    return containers


@pytest.fixture
def discovery(
    request: pytest.FixtureRequest, swarm: Swarm, containers: Containers, trial: Trial
) -> Discovery:
    """What every node's embedded DNS and IPVS give, against the tasks that run."""
    from harness.probes.discovery import Discovery

    discovery = Discovery(_members(swarm), containers, trial)
    scene_of(request).closing.append(discovery.close)
    return discovery


@pytest.fixture
def reachability(
    request: pytest.FixtureRequest, swarm: Swarm, containers: Containers, trial: Trial
) -> Reachability:
    """Who gets through to every node's published ports, and from task to task."""
    from harness.probes.reachability import Reachability

    site = swarm.lab.client_host("reach")
    reachability = Reachability(_members(swarm), site, containers, trial)
    scene_of(request).closing.append(reachability.close)
    return reachability


@pytest.fixture
def tasks(request: pytest.FixtureRequest, containers: Containers, trial: Trial) -> Tasks:
    """How many tasks run, twins in one slot, and the states that managers list."""
    from harness.probes.tasks import Tasks

    tasks = Tasks(containers, trial)
    scene_of(request).closing.append(tasks.close)
    return tasks


@pytest.fixture
def dockerd_logs(request: pytest.FixtureRequest, lab: NamespacesLab, trial: Trial) -> DockerdLogs:
    """Lines of interest in dockerd's logs: how many, when, at whom."""
    from harness.probes.logs import DockerdLogs

    logs = DockerdLogs(lab.nodes.values(), trial)
    scene_of(request).closing.append(logs.save)
    return logs


@pytest.fixture
def gossip(
    request: pytest.FixtureRequest, swarm: Swarm, containers: Containers, trial: Trial
) -> Gossip:
    """The members of gossip as each dockerd sees them, and how often that changes."""
    from harness.probes.gossip import Gossip

    gossip = Gossip(_members(swarm), containers, trial)
    scene_of(request).closing.append(gossip.save)
    return gossip


@pytest.fixture
def api(request: pytest.FixtureRequest, swarm: Swarm, trial: Trial) -> Api:
    """What each manager's API answers, how fast, and with which error."""
    from harness.probes.api import Api

    api = Api(swarm.managers, trial)
    scene_of(request).closing.append(api.close)
    return api


@pytest.fixture
def probes(request: pytest.FixtureRequest, trial: Trial) -> Probes:  # noqa: ARG001 - is part of it
    """All probes in a bundle, each made when it is first asked for."""
    return Probes(request)


def _members(swarm: Swarm) -> list[Node]:
    return [node for node in swarm.lab.nodes.values() if node.planned_role != "spare"]


@pytest.fixture
def measure(trial: Trial) -> Measures:
    """Records numbers and holds them against expectations: ``measure(NEW_LEADER, 9.7)``."""
    return trial.measures
