"""The oracles: each is quiet about a sound swarm, and says what is wrong with a broken one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bare_trials import bare_trial
from stand_ins import stand_in

from harness.lab.dockerd_ends import DockerdEnds
from harness.probes.ipvs import Destination
from harness.probes.oracles import reconciled
from harness.probes.oracles.picture import (
    NOT_LOOKED_AT,
    Listing,
    Local,
    Picture,
    Running,
    running_in,
)
from harness.probes.oracles.raft import fallen_terms, raft_lines, shared_terms
from harness.probes.oracles.routes import (
    Place,
    addresses_of,
    places,
    wrong_balancing,
    wrong_names,
)
from harness.probes.oracles.standing import (
    Patience,
    Problems,
    Rest,
    StandingOracles,
    come_to_rest,
)
from harness.probes.sampling.dns_wire import Answer
from harness.trial.oracles import (
    ABSENT,
    ALWAYS,
    EVENTUALLY,
    LEADERS,
    NAMES,
    ORACLES,
    ROUTES,
    STRAYS,
    WRITES,
)
from harness.wait import Elapsed

CONTROLS = Path(__file__).parents[1] / "integration" / "test_probes_oracles.py"

# -- a sound swarm: m1, m2 and w1; app has two replicas, on m1 and w1 ---------------------------


def node(name: str, role: str = "worker", **changes: Any) -> dict[str, Any]:
    manages = {"ManagerStatus": {"Reachability": "reachable"}} if role == "manager" else {}
    return {
        "ID": f"id-{name}",
        "Description": {"Hostname": name},
        "Spec": {"Role": role},
        "Status": {"State": "ready"},
        **manages,
        **changes,
    }


def task(number: int, where: str, **changes: Any) -> dict[str, Any]:
    return {
        "ID": f"t{number}",
        "ServiceID": "id-app",
        "Slot": number,
        "NodeID": f"id-{where}",
        "DesiredState": "running",
        "Status": {"State": "running"},
        **changes,
    }


def service(name: str = "app", **changes: Any) -> dict[str, Any]:
    spec = {"Name": name, "Mode": {"Replicated": {"Replicas": 2}}, "TaskTemplate": {}}
    return {"ID": f"id-{name}", "Version": {"Index": 7}, "Spec": spec, **changes}


def container(number: int, address: str = "", pid: int | None = 100) -> Running:
    on = {"web": address or f"10.0.1.{number}"}
    return Running(f"c{number}", f"t{number}", "app", str(number), on, pid)


def local(name: str, *running: Running, **changes: Any) -> Local:
    made = Local(f"id-{name}", "active", manages=name.startswith("m"), running=running)
    return replace(made, **changes)


LISTING = Listing(
    nodes=[node("m1", "manager"), node("m2", "manager"), node("w1")],
    services=[service()],
    tasks=[task(1, "m1"), task(2, "w1")],
    networks=[{"Id": "id-web", "Name": "web"}],
)
SOUND = Picture(
    local={"m1": local("m1", container(1)), "m2": local("m2"), "w1": local("w1", container(2))},
    listings={"m1": LISTING, "m2": LISTING},
)


def listed(**changes: Any) -> Picture:
    """The sound swarm, but for what its managers list."""
    other = replace(LISTING, **changes)
    return replace(SOUND, listings={"m1": other, "m2": other})


def found_on(name: str, *running: Running, **changes: Any) -> Picture:
    """The sound swarm, but for what one node shows."""
    return replace(SOUND, local={**SOUND.local, name: local(name, *running, **changes)})


CHECKS = [
    reconciled.resources_with_two_owners,
    reconciled.containers_unwanted,
    reconciled.tasks_absent,
    reconciled.members_not_back,
    reconciled.managers_apart,
    reconciled.updates_under_way,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("picture", [SOUND, Picture()], ids=["sound", "nobody answers"])
def test_nothing_is_wrong_with(check: Callable[[Picture], list[str]], picture: Picture) -> None:
    assert check(picture) == []


def ports(name: str, number: int, mode: str = "ingress") -> dict[str, Any]:
    port = {"Protocol": "tcp", "PublishedPort": number, "PublishMode": mode}
    return service(name, Endpoint={"Ports": [port]})


OTHER_SPEC = {"Name": "app", "Mode": {"Global": {}}, "TaskTemplate": {}}


@pytest.mark.parametrize(
    ("check", "picture", "said"),
    [
        (
            reconciled.resources_with_two_owners,
            listed(services=[ports("app", 80), ports("web", 80)]),
            ["port 80/tcp is app and web"],
        ),
        (
            reconciled.resources_with_two_owners,
            listed(services=[ports("app", 80, "host"), ports("web", 80, "host")]),
            [],
        ),
        (
            reconciled.resources_with_two_owners,
            listed(tasks=[task(1, "m1"), task(2, "w1"), task(3, "w1", Slot=2)]),
            ["app.2 is 2 tasks"],
        ),
        (
            reconciled.resources_with_two_owners,
            listed(tasks=[task(1, "m1"), task(2, "w1", Slot=1, DesiredState="shutdown")]),
            [],
        ),
        (
            reconciled.containers_unwanted,
            listed(tasks=[task(1, "m1")]),
            ["w1: app.2.t2 is of no task"],
        ),
        (
            reconciled.containers_unwanted,
            listed(tasks=[task(1, "m1"), task(2, "w1", DesiredState="shutdown")]),
            ["w1: app.2.t2 is to be shutdown"],
        ),
        (
            reconciled.containers_unwanted,
            listed(tasks=[task(1, "m1"), task(2, "m2")]),
            ["w1: app.2.t2 is of another node's task"],
        ),
        (
            reconciled.containers_unwanted,
            found_on("w1", container(2), unlisted=("c9",)),
            ["w1: the engine does not list container c9"],
        ),
        (
            reconciled.tasks_absent,
            found_on("w1"),
            ["w1: app (task t2) has no container that runs"],
        ),
        (
            reconciled.tasks_absent,
            found_on("w1", container(2, pid=None)),
            ["w1: app (task t2) has no process"],
        ),
        (
            reconciled.tasks_absent,
            listed(tasks=[task(1, "m1"), task(2, "w1", Status={"State": "preparing"})]),
            ["w1: app (task t2) is still preparing"],
        ),
        (
            reconciled.tasks_absent,
            listed(tasks=[task(1, "m1"), task(2, "", Status={"State": "pending"})]),
            [],
        ),
        (
            reconciled.tasks_absent,
            listed(tasks=[task(1, "m1")]),
            ["app has 1 of 2 tasks"],
        ),
        (
            reconciled.tasks_absent,
            listed(tasks=[task(1, "m1")], services=[service(Spec=OTHER_SPEC)]),
            [],
        ),
        (
            reconciled.members_not_back,
            listed(nodes=[*LISTING.nodes[:2], node("w1", Status={"State": "down"})]),
            ["w1 is down"],
        ),
        (
            reconciled.members_not_back,
            listed(
                nodes=[
                    node("m1", "manager"),
                    node("m2", "manager", ManagerStatus={"Reachability": "unreachable"}),
                    node("w1"),
                ]
            ),
            ["m2 is a manager that is unreachable"],
        ),
        (
            reconciled.members_not_back,
            found_on("w1", state="pending", member=""),
            ["w1 calls itself pending"],
        ),
        (
            reconciled.members_not_back,
            found_on("w1", error="w1 does not answer /info: timed out"),
            ["w1 does not answer /info: timed out"],
        ),
        (reconciled.members_not_back, found_on("w1", state="inactive", member=""), []),
        (reconciled.members_not_back, found_on("w1", member="id-elsewhere"), []),
        (
            reconciled.managers_apart,
            replace(SOUND, listings={"m1": LISTING, "m2": replace(LISTING, services=())}),
            ["m2 lists services otherwise"],
        ),
        (
            reconciled.managers_apart,
            replace(SOUND, listings={"m1": LISTING, "m2": "m2 answers /nodes: no leader"}),
            ["m2 answers /nodes: no leader"],
        ),
        (
            reconciled.updates_under_way,
            listed(services=[service(UpdateStatus={"State": "updating"})]),
            ["app is updating"],
        ),
        (
            reconciled.updates_under_way,
            listed(services=[service(UpdateStatus={"State": "paused"})]),
            [],
        ),
    ],
)
def test_it_says_what_is_wrong(
    check: Callable[[Picture], list[str]], picture: Picture, said: list[str]
) -> None:
    assert check(picture) == said


@pytest.mark.parametrize("without", ["w1", "m2"])
def test_nothing_is_asked_of_a_node_that_is_not_up(without: str) -> None:
    there = {name: each for name, each in SOUND.local.items() if name != without}
    picture = replace(SOUND, local=there, listings={"m1": LISTING})
    assert [said for check in CHECKS for said in check(picture)] == []


def test_a_container_is_read_with_the_process_that_the_kernel_has_for_it() -> None:
    found = {
        "Id": "c2",
        "Labels": {
            "com.docker.swarm.task.id": "t2",
            "com.docker.swarm.task.name": "app.2.t2",
            "com.docker.swarm.service.name": "app",
        },
        "NetworkSettings": {"Networks": {"web": {"IPAddress": "10.0.1.2"}}},
    }
    assert running_in(found, {"c2": 100}) == container(2)
    assert running_in(found, {}).pid is None
    assert running_in(found, None).pid == NOT_LOOKED_AT
    assert running_in({"Id": "c9"}, {}).task == ""


# -- names and routes ---------------------------------------------------------------------------

RUNNING = [("m1", container(1)), ("w1", container(2))]
ADDRESSES = {("app", "web"): frozenset({"10.0.1.1", "10.0.1.2"})}


def test_addresses_and_places_are_those_of_what_runs() -> None:
    assert addresses_of(RUNNING, ["web"]) == ADDRESSES
    assert addresses_of(RUNNING, ["other"]) == {}
    assert places(RUNNING, ["web"]) == [
        Place("m1", 100, frozenset({"web"})),
        Place("w1", 100, frozenset({"web"})),
    ]


@pytest.mark.parametrize(
    ("addresses", "error", "said"),
    [
        (("10.0.1.1", "10.0.1.2"), "", []),
        (("10.0.1.1",), "", ["m1: tasks.app is 10.0.1.1 and not 10.0.1.1, 10.0.1.2"]),
        (
            ("10.0.1.1", "10.0.1.2", "10.0.1.9"),
            "",
            ["m1: tasks.app is 10.0.1.1, 10.0.1.2, 10.0.1.9 and not 10.0.1.1, 10.0.1.2"],
        ),
        ((), "NXDOMAIN", ["m1: tasks.app is NXDOMAIN and not 10.0.1.1, 10.0.1.2"]),
    ],
)
def test_a_name_is_all_tasks_that_run_and_no_other(
    addresses: tuple[str, ...], error: str, said: list[str]
) -> None:
    place = Place("m1", 100, frozenset({"web"}))
    assert wrong_names(place, ADDRESSES, {"app": Answer(1, addresses, error)}) == said


@pytest.mark.parametrize(
    ("led_to", "said"),
    [
        (("10.0.1.1", "10.0.1.2"), []),
        (
            ("10.0.1.1",),
            [
                "m1: IPVS in web does not lead to 10.0.1.1, 10.0.1.2",
                "m1: IPVS in web leads to 10.0.1.1",
            ],
        ),
    ],
)
def test_a_virtual_address_leads_to_the_same(led_to: tuple[str, ...], said: list[str]) -> None:
    destinations = [Destination(256, address, 1, 0, 0) for address in led_to]
    idle = Destination(256, "10.0.1.8", 0, 0, 0)
    assert wrong_balancing("m1", "web", [*destinations, idle], set(ADDRESSES.values())) == said


# -- raft ---------------------------------------------------------------------------------------

A, B = "1f34936010fd8aef", "531fec5faed379cf"


def logged(tmp_path: Path, name: str, *said: str) -> tuple[str, Any]:
    log = tmp_path / f"{name}.log"
    stamp = 'time="2026-11-23T01:41:57.014075398Z" level=info'
    lines = (f'{stamp} msg="raft.node: {each}" module=raft\n' for each in said)
    log.write_text("a line\n" + "".join(lines))
    return name, raft_lines(log)


def test_a_term_has_one_leader_and_does_not_fall(tmp_path: Path) -> None:
    logs = [
        logged(
            tmp_path,
            "m1",
            f"{A} elected leader {A} at term 2",
            f"{A} lost leader {A} at term 3",
            f"{A} elected leader {B} at term 3",
        ),
        logged(
            tmp_path,
            "m2",
            f"{B} elected leader {A} at term 2",
            f"{B} changed leader from {A} to {B} at term 3",
        ),
        ("w1", raft_lines(tmp_path / "there is none")),
    ]
    assert (shared_terms(logs), fallen_terms(logs)) == ([], [])


def test_two_leaders_in_a_term_are_named(tmp_path: Path) -> None:
    logs = [
        logged(tmp_path, "m1", f"{A} elected leader {A} at term 2"),
        logged(tmp_path, "m2", f"{B} elected leader {B} at term 2"),
    ]
    assert shared_terms(logs) == [f"term 2: {A} by m1, {B} by m2"]


def test_a_term_that_falls_is_named_unless_it_is_another_members(tmp_path: Path) -> None:
    fell = logged(
        tmp_path, "m1", f"{A} elected leader {A} at term 5", f"{A} elected leader {A} at term 4"
    )
    again = logged(
        tmp_path, "m2", f"{A} elected leader {A} at term 5", f"{B} elected leader {B} at term 6"
    )
    assert fallen_terms([fell, again]) == ["m1: term 4 after 5"]


# -- coming to rest -----------------------------------------------------------------------------


class Looks:
    """What is wrong, look by look; the last stays so. Each look takes a second."""

    def __init__(self, *wrong: Problems, answering: bool = True) -> None:
        self.wrong = list(wrong)
        self.now = 0.0
        self.picture = SOUND if answering else Picture()

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def check(self, _: Picture) -> Problems:
        return self.wrong.pop(0) if len(self.wrong) > 1 else self.wrong[0]

    def rest(self) -> Any:
        return come_to_rest(
            lambda: self.picture,
            self.check,
            Patience(rest=60.0, wrong=30.0),
            clock=lambda: self.now,
            sleep=self.sleep,
        )


def test_a_swarm_at_rest_is_looked_at_once() -> None:
    rest = Looks({STRAYS: []}).rest()
    assert (rest.seconds, rest.problems, rest.answered) == (0.0, {STRAYS: []}, True)


def test_what_goes_away_is_not_held_against_it() -> None:
    rest = Looks({STRAYS: ["w1: old"]}, {STRAYS: ["w1: old"]}, {STRAYS: []}).rest()
    assert (rest.seconds, rest.problems) == (2.0, {STRAYS: []})


def test_what_stays_is() -> None:
    rest = Looks({STRAYS: ["w1: old"], ABSENT: []}).rest()
    assert (rest.seconds, rest.problems) == (60.0, {STRAYS: ["w1: old"], ABSENT: []})


def test_what_comes_and_goes_for_ever_is_no_lasting_fault() -> None:
    flux: list[Problems] = [{ABSENT: [f"task t{number // 5}"]} for number in range(100)]
    rest = Looks(*flux).rest()
    assert (rest.seconds, rest.problems) == (60.0, {ABSENT: []})


def test_a_swarm_of_which_nobody_answers_is_not_at_rest() -> None:
    rest = Looks({STRAYS: []}, answering=False).rest()
    assert (rest.seconds, rest.answered) == (60.0, False)


# -- as a set -----------------------------------------------------------------------------------


def test_every_oracle_is_of_one_kind_and_has_a_name_of_its_own() -> None:
    assert len(NAMES) == len(ORACLES) == len(ALWAYS) + len(EVENTUALLY)


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle.name)
def test_every_oracle_has_a_control_on_real_nodes(oracle: Any) -> None:
    if oracle.no_control:
        assert "test_poisoned_spec" in oracle.no_control
        return
    assert f"def {oracle.control}(" in CONTROLS.read_text()


def test_an_oracle_that_is_off_is_on_record_and_takes_no_measure(tmp_path: Path) -> None:
    trial = bare_trial(tmp_path / "trial")
    StandingOracles(stand_in([]), trial).record(None, {LEADERS.name: "there are two swarms"})
    record = trial.finish(None)
    assert record.oracles_off == {LEADERS.name: "there are two swarms"}
    assert {m.name for m in record.measures} == {o.name for o in ALWAYS if o is not LEADERS}


class Manager:
    """A planned manager as far as it matters whether it is to be up."""

    planned_role = "manager"
    log = Path("/nonexistent/dockerd.log")

    def __init__(self, name: str, *, up: bool, unasked: bool = False) -> None:
        self.name = name
        self.up = up
        self.dockerd = self
        self.alive = up
        self.dockerd_ends = DockerdEnds()
        if unasked:
            self.dockerd_ends.started()
            self.dockerd_ends.found_dead()


class Refusing:
    """A swarm without a majority: no write is taken."""

    def time_to_write(self, *, within: float) -> Elapsed:
        return Elapsed(within, reached=False, last="no leader")


def test_a_majority_that_is_meant_to_be_down_switches_the_rest_off(tmp_path: Path) -> None:
    trial = bare_trial(tmp_path / "trial")
    nodes = [Manager("m1", up=False), Manager("m2", up=False), Manager("m3", up=False)]
    StandingOracles(stand_in(nodes), trial).record(stand_in(Refusing()), {})
    record = trial.finish(None)
    assert record.oracles_off.keys() == {oracle.name for oracle in EVENTUALLY}
    assert set(record.oracles_off.values()) == {"no majority of managers is up, as it is meant"}


def test_one_that_died_unasked_does_not(tmp_path: Path) -> None:
    trial = bare_trial(tmp_path / "trial")
    nodes = [Manager("m1", up=False), Manager("m2", up=False, unasked=True)]
    brief = Patience(rest=0.0, wrong=0.0, answer=0.0, write=0.0)
    StandingOracles(stand_in([*nodes, Manager("m3", up=False, unasked=True)]), trial, brief).record(
        stand_in(Refusing()), {}
    )
    record = trial.finish(None)
    assert {m.name for m in record.measures if m.ok is False} == {WRITES.name}
    assert set(record.oracles_off.values()) == {"no manager lists anything"}


def test_what_was_not_looked_at_is_off_and_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "harness.probes.oracles.standing.come_to_rest",
        lambda *_: Rest(110.0, {oracle: [] for oracle in EVENTUALLY if oracle is not ROUTES}),
    )
    trial = bare_trial(tmp_path / "trial")
    StandingOracles(stand_in([Manager("m1", up=True)]), trial).record(stand_in(Refusing()), {})
    record = trial.finish(None)
    assert record.oracles_off == {ROUTES.name: "the tasks it follows have not come to rest"}
    assert ROUTES.name not in {measure.name for measure in record.measures}
