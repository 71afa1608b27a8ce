"""A deployment and the API behind it: scaled, updated, refused. Only the answers are made up."""

from __future__ import annotations

import copy
import time
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from docker.errors import APIError

from harness.errors import SwarmError, UsageError, WaitTimeout
from harness.swarm import Deployment, Job, NoAnswer, Service, SwarmClient, Workload, deployment

ROLES = {"m1": "manager", "w1": "worker", "w2": "worker"}


class Api:
    """The answers of one engine: nodes, tasks, and services that can be updated."""

    def __init__(self) -> None:
        self.members = [member(name, role) for name, role in ROLES.items()]
        self.listed: list[dict[str, Any]] = []
        self.specs = {"id-app": spec(Replicated={"Replicas": 2})}
        self.status: dict[str, str] = {}
        self.refusals: list[tuple[int, str]] = []
        self.updates = 0
        self.listed_networks: list[dict[str, Any]] = []

    @property
    def api(self) -> Api:
        return self

    def nodes(self) -> list[dict[str, Any]]:
        return self.members

    def tasks(self) -> list[dict[str, Any]]:
        return self.listed

    def networks(self) -> list[dict[str, Any]]:
        return self.listed_networks

    def services(self) -> list[dict[str, Any]]:
        return [{"ID": id_, "Spec": spec} for id_, spec in self.specs.items()]

    def inspect_service(self, id_: str) -> dict[str, Any]:
        found = copy.deepcopy(self.specs[id_])
        return {"Spec": found, "Version": {"Index": 1}, "UpdateStatus": self.status}

    def update_service(self, id_: str, _: int, **parts: Any) -> None:
        self.updates += 1
        if self.refusals:
            raise refused(*self.refusals.pop(0))
        self.specs[id_] = {
            "Name": parts["name"],
            "TaskTemplate": parts["task_template"],
            "Mode": parts["mode"],
            "EndpointSpec": parts["endpoint_spec"],
        }


def refused(status: int, message: str) -> APIError:
    response = requests.Response()
    response.status_code = status
    return APIError(message, response=response, explanation=message)


def spec(**mode: Any) -> dict[str, Any]:
    template: dict[str, Any] = {"ContainerSpec": {"Image": "image"}, "Placement": {}}
    return {"Name": "app", "TaskTemplate": template, "Mode": mode, "EndpointSpec": {}}


def member(name: str, role: str, **spec: Any) -> dict[str, Any]:
    return {
        "ID": f"id-{name}",
        "Spec": {"Role": role, "Availability": "active", **spec},
        "Description": {"Hostname": name, "Platform": {"OS": "linux"}},
        "Status": {"State": "ready", "Addr": "10.0.0.1"},
    }


def task(number: int, node: str, state: str, desired: str, error: str = "") -> dict[str, Any]:
    return {
        "ID": f"task{number}",
        "ServiceID": "id-app",
        "Slot": number,
        "NodeID": f"id-{node}",
        "DesiredState": desired,
        "CreatedAt": f"2026-01-01T00:00:0{number}Z",
        "Status": {"State": state, "Err": error},
    }


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def client(api: Api) -> SwarmClient:
    nodes = {
        name: SimpleNamespace(
            name=name,
            planned_role=role,
            up=True,
            dockerd=SimpleNamespace(alive=True),
            address="10.0.0.1",
            docker=api,
        )
        for name, role in ROLES.items()
    }
    lab: Any = SimpleNamespace(nodes=nodes)
    return SwarmClient(lab)


def deployed(client: SwarmClient, *, mesh: bool = True, **facts: Any) -> Deployment:
    made = Deployment(
        client, Workload("load", ("net",), (Service("app", "image", ("net",), **facts),)), mesh=mesh
    )
    made.services["app"] = "id-app"
    return made


def test_a_service_that_is_there_is_not_created_again(client: SwarmClient) -> None:
    with pytest.raises(UsageError, match="the service app is there: remove it first"):
        deployed(client).create_again("app")


def test_an_edit_of_the_replicas_is_what_the_deployment_says(api: Api, client: SwarmClient) -> None:
    made = deployed(client, replicas=2)

    def edit(spec: dict[str, Any]) -> None:
        spec["Mode"]["Replicated"]["Replicas"] = 1

    made.change("app", edit)
    assert made.workload.service("app").replicas == 1
    api.listed = [task(1, "w1", "running", "running")]
    assert made.running("app") is True


def test_an_edit_of_the_port_is_where_clients_enter(client: SwarmClient) -> None:
    made = deployed(client, replicas=2, port=80, published=8080)

    def edit(spec: dict[str, Any]) -> None:
        port = {"TargetPort": 80, "PublishedPort": 9090, "PublishMode": "host"}
        spec["EndpointSpec"] = {"Ports": [port]}

    made.change("app", edit)
    described = made.workload.service("app")
    assert (described.published, described.publish_mode) == (9090, "host")
    made.publish("app", None)
    assert made.workload.service("app").published is None


def test_a_change_that_is_not_accepted_changes_no_description(
    api: Api, client: SwarmClient
) -> None:
    made = deployed(client, replicas=2)
    api.refusals = [(400, "invalid")]
    with pytest.raises(SwarmError):
        made.scale("app", 5)
    assert made.workload.service("app").replicas == 2


def test_an_invalid_spec_is_refused_at_once(api: Api, client: SwarmClient) -> None:
    api.refusals = [(400, "Interval in Healthcheck cannot be less than 1ms")] * 9
    made = deployed(client)
    with pytest.raises(SwarmError, match="the change of app is refused: m1 answers: Interval"):
        made.redeploy("app")
    assert api.updates == 1


def test_a_conflict_is_tried_again(api: Api, client: SwarmClient) -> None:
    api.refusals = [(500, "update out of sequence")]
    deployed(client).redeploy("app")
    assert api.updates == 2
    assert api.specs["id-app"]["TaskTemplate"]["ForceUpdate"] == 1


def test_what_no_manager_accepts_in_time_is_an_error(api: Api, client: SwarmClient) -> None:
    api.refusals = [(500, "no leader")] * 9
    with pytest.raises(SwarmError, match=r"no manager accepted the change of app: .*no leader"):
        deployed(client).change("app", lambda _: None, within=0.0)


@pytest.mark.parametrize(
    ("mesh", "facts"), [(True, {"replicas": None}), (False, {"port": 80, "published": 8080})]
)
def test_a_global_service_runs_on_the_active_members_of_now(
    api: Api, client: SwarmClient, mesh: bool, facts: dict[str, Any]
) -> None:
    made = deployed(client, mesh=mesh, **facts)
    assert made.wanted("app") == 3
    api.members[1]["Spec"]["Availability"] = "drain"
    assert made.wanted("app") == 2
    api.members[2]["Spec"]["Role"] = "manager"
    assert deployed(client, replicas=None, role="worker").wanted("app") == 0


def test_a_global_service_is_not_wanted_on_the_node_to_avoid(client: SwarmClient) -> None:
    made, avoided = deployed(client, replicas=None), client.lab.nodes["w1"]
    assert made.wanted("app", avoiding=avoided) == 2


@pytest.mark.parametrize(
    ("constraint", "wanted"),
    [
        ("node.hostname==w1", 1),
        ("node.hostname!=w1", 2),
        ("node.role==worker", 2),
        ("Node.Role == WORKER", 2),
        ("node.labels.disk==ssd", 1),
        ("node.labels.disk!=ssd", 2),
        ("engine.labels.zone==a", 1),
        ("node.platform.os==linux", 3),
        ("node.id==id-m1", 1),
        ("node.ip==10.0.0.0/24", 3),
        ("node.ip!=10.0.0.1", 0),
        ("unknown==x", 0),
    ],
)
def test_a_global_service_keeps_to_its_constraints(
    api: Api, client: SwarmClient, constraint: str, wanted: int
) -> None:
    api.members[1]["Spec"]["Labels"] = {"disk": "ssd"}
    api.members[2]["Description"]["Engine"] = {"Labels": {"zone": "a"}}
    assert deployed(client, replicas=None, constraints=(constraint,)).wanted("app") == wanted


def test_what_is_no_constraint_is_the_callers_mistake(client: SwarmClient) -> None:
    with pytest.raises(UsageError, match="'w1' is not a placement constraint"):
        deployed(client, replicas=None, constraints=("w1",)).wanted("app")


def test_a_service_on_every_node_goes_to_0_and_back(api: Api, client: SwarmClient) -> None:
    api.specs["id-app"] = spec(Global={})
    made = deployed(client, replicas=None)
    with pytest.raises(UsageError, match="runs on every node"):
        made.scale("app", 2)
    made.scale("app", 0)
    assert made.wanted("app") == 0
    made.scale("app", 1)
    assert made.wanted("app") == 3


def test_the_error_of_a_task_that_ended_is_why_nothing_runs(api: Api, client: SwarmClient) -> None:
    made = deployed(client, replicas=1)
    api.listed = [
        task(1, "w1", "failed", "shutdown", "task: non-zero exit (3)"),
        task(2, "w2", "rejected", "shutdown", "No such image: image"),
        task(3, "w2", "ready", "running"),
    ]
    with pytest.raises(WaitTimeout, match=r"0 of 1 running; ready; .* on w2: No such image: image"):
        made.wait_running(0.0)


@pytest.mark.parametrize("state", ["paused", "rollback_started", "rollback_completed"])
def test_an_update_that_ended_otherwise_is_not_waited_for(
    api: Api, client: SwarmClient, state: str
) -> None:
    api.status = {"State": state, "Message": "update paused due to failure of task1"}
    began = time.monotonic()
    elapsed = deployed(client).time_to_updated("app", within=60)
    assert time.monotonic() - began < 30
    assert (elapsed.reached, elapsed.seconds >= 60) == (False, True)
    assert elapsed.last == f"the update is {state}: update paused due to failure of task1"


def test_an_update_that_was_completed_took_its_time(api: Api, client: SwarmClient) -> None:
    api.status = {"State": "completed", "Message": "update completed"}
    assert deployed(client).time_to_updated("app", within=60).reached


def test_a_promoted_member_is_asked_once_it_was_listed(api: Api, client: SwarmClient) -> None:
    api.members = [member("m1", "manager"), member("w1", "manager")]
    assert [m.name for m in client.members()] == ["m1", "w1"]
    client.lab.nodes["m1"].up = False  # type: ignore[misc]
    assert [m.name for m in client.members()] == ["m1", "w1"]
    client.lab.nodes["w1"].up = False  # type: ignore[misc]
    with pytest.raises(NoAnswer, match="no manager is running"):
        client.members()


def job_task(number: int, node: str, state: str) -> dict[str, Any]:
    return task(number, node, state, "complete")


def test_a_job_runs_while_as_many_are_under_way_as_may_be(api: Api, client: SwarmClient) -> None:
    made = deployed(client, job=Job(completions=3, at_once=2))
    api.listed = [job_task(1, "w1", "running")]
    assert made.wanted("app") == 2
    assert "1 of 2 running" in str(made.running("app"))
    api.listed = [job_task(1, "w1", "complete"), job_task(2, "w2", "complete")]
    assert made.wanted("app") == 1
    api.listed.append(job_task(3, "w1", "running"))
    assert made.running("app") is True
    assert "2 of 3 completed" in str(made.completed("app"))
    api.listed[2] = job_task(3, "w1", "complete")
    assert (made.wanted("app"), made.running("app"), made.completed("app")) == (0, True, True)


def test_a_job_on_every_node_is_done_when_each_has_run_it(api: Api, client: SwarmClient) -> None:
    made = deployed(client, replicas=None, job=Job(), constraints=("node.role==worker",))
    assert made.wanted("app") == 2
    api.listed = [{**job_task(0, "w1", "complete"), "Slot": None}] * 2
    assert "1 of 2 completed" in str(made.completed("app"))
    api.listed.append({**job_task(0, "w2", "complete"), "Slot": None})
    assert made.completed("app") is True


def test_a_job_is_not_scaled_and_a_service_never_completed(client: SwarmClient) -> None:
    with pytest.raises(UsageError, match="a job has no replicas"):
        deployed(client, job=Job()).scale("app", 2)
    with pytest.raises(UsageError, match="app is no job"):
        deployed(client).completed("app")


def test_a_workload_that_is_there_is_found_and_one_that_is_not_is_named(
    api: Api, client: SwarmClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "probe_features", lambda: SimpleNamespace(mesh=True))
    api.listed_networks = [{"Name": "net", "Id": "n1"}, {"Name": "other", "Id": "n2"}]
    workload = deployed(client).workload
    found = deployment.find(client, workload)
    assert (found.networks, found.services) == ({"net": "n1"}, {"app": "id-app"})
    api.specs = {}
    with pytest.raises(SwarmError, match="has no 'app' of the workload"):
        deployment.find(client, workload)
