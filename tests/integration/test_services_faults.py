"""External services on a real fabric: each is up, each of its failures is felt, and ends.

What a fault does is measured here in other ways than by its own evidence: by an engine that pulls,
a container that logs, and sockets of the test's own.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bare_trials import bare_trial
from docker.errors import APIError
from lab_builds import LabOf
from optionals import not_none

from harness.errors import FaultError, LabError
from harness.faults import Faults
from harness.faults.service import ServiceFaults
from harness.images import WORKLOAD_TAGS, Cache
from harness.lab import NamespacesLab, Node
from harness.probes.logwriters import LogWriters, Written
from harness.probes.memory import MIB, Memory
from harness.services.gelf_sink import GelfSink
from harness.services.name_server import NameServer
from harness.services.registry import Registry
from harness.services.services import ServiceAssets, Services
from harness.swarm import LogDriver, Service, Swarm, Workload
from harness.trial import Trial, read_lines
from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def lab(lab_of: LabOf) -> Iterator[NamespacesLab]:
    with lab_of() as lab:
        yield lab


@pytest.fixture(scope="module")
def node(lab: NamespacesLab) -> Node:
    return lab.node("m1")


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """On record with proof is all that any of the tests has injected."""
    trial = bare_trial(tmp_path_factory.mktemp("services") / "trial")
    yield trial
    trial.finish(None)
    kinds = list(read_lines(trial.folder / "journal.jsonl"))
    injected = {row["id"] for row in kinds if row["kind"] == "fault.inject"}
    for wanted in ("fault.evidence", "fault.healed"):
        assert {row["id"] for row in kinds if row["kind"] == wanted} == injected
    assert trial.doubts == []


@pytest.fixture(scope="module")
def services(lab: NamespacesLab, trial: Trial) -> Iterator[Services]:
    services = Services(lab, trial, ServiceAssets(Cache(), print))
    yield services
    services.close()


@pytest.fixture(scope="module")
def faults(trial: Trial) -> ServiceFaults:
    return Faults(trial).service


@pytest.fixture(scope="module")
def sink(services: Services) -> GelfSink:
    return services.gelf_sink()


@pytest.fixture(scope="module")
def registry(services: Services) -> Registry:
    made = services.registry(app="1")
    made.publish(ServiceAssets(Cache(), print).images(), WORKLOAD_TAGS["resolver"], "app", "2")
    return made


@pytest.fixture(scope="module")
def names(services: Services) -> NameServer:
    return services.name_server({"db.example.test": "10.9.8.7"})


def at_once(node: Node, work: Callable[..., socket.socket]) -> Any:
    """Do something with sockets of the node's."""
    return node.here.network.call(work)


# -- GELF ------------------------------------------------------------------------------------------


def connected(node: Node, sink: GelfSink, timeout: float = 1.0) -> Any:
    return at_once(
        node, lambda: socket.create_connection((sink.address, sink.port), timeout=timeout)
    )


def took_in(node: Node, sink: GelfSink, most: int = 4 << 20, quiet: float = 5.0) -> int:
    """How much of ``most`` bytes the sink takes until not one more in ``quiet`` seconds."""
    with connected(node, sink) as connection:
        connection.settimeout(quiet)
        sent = 0
        try:
            while sent < most:
                sent += connection.send(bytes(65536))
        except TimeoutError:
            pass
        return sent


def test_every_line_of_a_container_is_counted_and_the_number_is_its_own(
    node: Node, sink: GelfSink
) -> None:
    container = node.docker.containers.run(  # type: ignore[call-overload]
        WORKLOAD_TAGS["logwriter"],
        detach=True,
        environment={"LINES_PER_SECOND": "200", "TASK_NAME": "alone"},
        log_config={"Type": "gelf", "Config": sink.options("udp")},
    )

    def some_arrived() -> bool | NotYet:
        return sink.arrived().get("alone", 0) > 100 or NotYet("too few lines")

    wait_for(some_arrived, state="lines to arrive", within=20)
    container.remove(force=True)
    account = sink.accounts({"alone": 100})["alone"]
    assert (account.received, account.lost, account.gaps) == (100, 0, ())


def test_a_sink_that_stalls_takes_connections_and_no_more_than_buffers_hold(
    node: Node, sink: GelfSink, faults: ServiceFaults
) -> None:
    assert took_in(node, sink) >= 4 << 20
    with faults.gelf_stalled(sink):
        assert took_in(node, sink, most=64 << 20, quiet=0.5) < 32 << 20
    assert took_in(node, sink) >= 4 << 20


def test_a_slow_sink_is_slower_than_a_well_one(
    node: Node, sink: GelfSink, faults: ServiceFaults
) -> None:
    with faults.gelf_slow(sink, rate=1000) as fault:
        before = sink.state()
        assert took_in(node, sink, most=64 << 20, quiet=0.5) < 32 << 20
        assert before["mode"] == "slow"
        assert fault.active
    assert sink.counts_a_message()


def test_a_sink_that_reads_all_that_it_is_sent_is_not_slow(
    node: Node, sink: GelfSink, faults: ServiceFaults
) -> None:
    ended = threading.Event()
    with connected(node, sink) as connection:

        def send() -> None:
            while not ended.wait(0.05):
                connection.sendall(bytes(500))

        sender = threading.Thread(target=send)
        sender.start()
        try:
            with pytest.raises(FaultError, match="is not slow for its senders"):
                faults.gelf_slow(sink, rate=1 << 20).inject()
            assert sink.state()["mode"] == "serve"
            with faults.gelf_slow(sink, rate=1000) as fault:
                assert fault.measured["bytes a second read"] < 2000
                assert fault.measured["bytes a second sent before"] > 5000
        finally:
            ended.set()
            sender.join()


def test_a_sink_that_resets_does_so_to_old_connections_and_new(
    node: Node, sink: GelfSink, faults: ServiceFaults
) -> None:
    with connected(node, sink) as old, faults.gelf_reset(sink):
        with pytest.raises(ConnectionResetError):
            old.recv(1)
        with pytest.raises(ConnectionResetError), connected(node, sink) as new:
            new.recv(1)
    with connected(node, sink):
        pass


def test_a_port_that_refuses_refuses_and_a_black_hole_says_nothing(
    node: Node, sink: GelfSink, faults: ServiceFaults
) -> None:
    with faults.refused(sink), pytest.raises(ConnectionRefusedError):
        connected(node, sink)
    with faults.black_hole(sink):
        with pytest.raises(TimeoutError):
            connected(node, sink, timeout=0.5)
        with pytest.raises(FaultError, match="contradicts"):
            faults.black_hole(sink).inject()
    with connected(node, sink):
        pass


def test_a_service_that_moves_takes_its_name_along_and_comes_back(
    node: Node, sink: GelfSink, faults: ServiceFaults
) -> None:
    first = sink.address
    with faults.moved(sink):
        assert sink.address != first
        assert f"{sink.address} {sink.hostname}" in node.run(["cat", "/etc/hosts"]).text
        with connected(node, sink):
            pass
    assert sink.address == first
    assert f"{first} {sink.hostname}" in node.run(["cat", "/etc/hosts"]).text


# -- a registry ------------------------------------------------------------------------------------


def pulled(node: Node, registry: Registry, tag: str = "1", auth: Any = None) -> Any:
    """The image that the node's engine has after a pull; the error in words if it has none."""
    repository = registry.reference("app", tag).rpartition(":")[0]
    try:
        image = node.docker.images.pull(repository, tag=tag, auth_config=auth or registry.auth)
    except APIError as error:
        return str(error.explanation or error)
    return image.id


def image_id(node: Node, workload: str) -> Any:
    return node.docker.images.get(WORKLOAD_TAGS[workload]).id


def test_an_engine_pulls_by_name_over_tls_with_the_password_and_not_without(
    node: Node, registry: Registry
) -> None:
    assert pulled(node, registry) == image_id(node, "app")
    wrong = {"username": registry.user, "password": "guessed"}
    assert "unauthorized" in pulled(node, registry, auth=wrong)
    assert registry.ask().status == 401
    assert registry.ask(auth=registry.auth).status == 200


@pytest.mark.parametrize(
    ("status", "words"), [(403, "denied"), (404, "not found"), (429, "oomany"), (503, "")]
)
def test_an_engine_is_told_what_the_registry_answers(
    node: Node, registry: Registry, faults: ServiceFaults, status: int, words: str
) -> None:
    with faults.registry_answers(registry, status=status):
        said = pulled(node, registry)
        assert not said.startswith("sha256:")
        assert words in said
    assert pulled(node, registry).startswith("sha256:")


def test_a_slow_registry_makes_a_pull_slow(
    node: Node, registry: Registry, faults: ServiceFaults
) -> None:
    with faults.registry_slow(registry, delay=1.0):
        began = time.monotonic()
        assert pulled(node, registry).startswith("sha256:")
        assert time.monotonic() - began >= 1.0


def test_a_tag_that_moved_brings_another_image(
    node: Node, registry: Registry, faults: ServiceFaults
) -> None:
    with faults.registry_tag_moved(registry, repository="app", tag="1", to="2"):
        assert pulled(node, registry) == image_id(node, "resolver")
    assert pulled(node, registry) == image_id(node, "app")


def test_a_lost_manifest_is_not_found_and_the_other_tag_is(
    node: Node, registry: Registry, faults: ServiceFaults
) -> None:
    before = registry.tags("app")
    with faults.registry_manifest_lost(registry, repository="app", tag="1"):
        assert "not found" in pulled(node, registry) or "unknown" in pulled(node, registry)
        assert pulled(node, registry, "2").startswith("sha256:")
    assert registry.tags("app") == before
    with pytest.raises(FaultError, match="has no app:9"):
        faults.registry_manifest_lost(registry, repository="app", tag="9").inject()


def test_after_a_change_of_password_the_old_one_is_refused(
    node: Node, registry: Registry, faults: ServiceFaults
) -> None:
    old = registry.auth
    with faults.registry_password_changed(registry):
        assert "unauthorized" in pulled(node, registry, auth=old)
        assert pulled(node, registry).startswith("sha256:")
    assert registry.auth == old
    assert pulled(node, registry, auth=old).startswith("sha256:")


def test_a_registry_that_is_down_refuses_the_engine(
    node: Node, registry: Registry, faults: ServiceFaults
) -> None:
    with faults.refused(registry):
        assert "connection refused" in pulled(node, registry)
    assert pulled(node, registry).startswith("sha256:")


# -- a name server ---------------------------------------------------------------------------------


def test_a_container_resolves_by_the_name_server_and_feels_its_faults(
    node: Node, names: NameServer, faults: ServiceFaults
) -> None:
    code = (
        "import socket,sys,time\n"
        "began = time.monotonic()\n"
        "try: said = socket.gethostbyname('db.example.test')\n"
        "except OSError as error: said = str(error.errno)\n"
        "print(said, round(time.monotonic() - began, 1))\n"
    )

    def resolved() -> Any:
        # A container each, read from its log: of an exec's output the SDK loses what comes with
        # the response's headers (docker-py#2042, #3332), on a busy machine one in a hundred.
        output = node.docker.containers.run(
            WORKLOAD_TAGS["app"],
            entrypoint=["/usr/bin/python3", "-S", "-E", "-c", code],
            environment={"RES_OPTIONS": "timeout:3 attempts:1"},
            remove=True,
        ).decode()
        match output.split():
            case [said, took]:
                return said, float(took)
        raise AssertionError(f"the container says {output!r}")

    assert resolved()[0] == "10.9.8.7"
    with faults.name_server_lies(names, answer="6.6.6.6"):
        assert resolved()[0] == "6.6.6.6"
    with faults.name_server_lies(names):
        assert resolved()[0] == str(socket.EAI_NONAME)
    with faults.name_server_slow(names, delay=0.5):
        said, took = resolved()
        assert said == "10.9.8.7"
        assert took >= 0.5
    with faults.name_server_silent(names):
        assert resolved()[0] == str(socket.EAI_AGAIN)
    assert resolved()[0] == "10.9.8.7"


# -- what is measured of an outage -----------------------------------------------------------------


def test_programs_of_a_service_are_asked_and_their_dockerd_is_sampled(
    lab: NamespacesLab, node: Node, sink: GelfSink, trial: Trial
) -> None:
    swarm = Swarm.form(lab, seed=1)
    log = LogDriver("gelf", sink.options("tcp"))
    env = {"LINES_PER_SECOND": "50", "LINE_BYTES": "100"}
    writer = Service("writer", WORKLOAD_TAGS["logwriter"], (), replicas=2, env=env, log=log)
    deployed = swarm.deploy(Workload("logs", (), (writer,)))
    memory = Memory(trial, every=0.2)
    memory.start([node])
    programs = LogWriters(deployed, "writer")

    def all_answer() -> dict[str, Written] | NotYet:
        try:
            return programs.ask()
        except LabError as error:  # a task runs before its program listens
            return NotYet(error.what)

    first = wait_for(all_answer, state="the programs to answer", within=20)
    assert len(first) == 2

    def went_on() -> Any:
        later = programs.ask()
        slow = [task for task in first if later[task].written < first[task].written + 50]
        return later if not slow else NotYet(f"{slow} have hardly written")

    later = wait_for(went_on, state="the programs to write", within=20)

    def all_counted() -> Any:
        accounts = sink.accounts({task: each.written for task, each in later.items()})
        lost = sum(account.lost for account in accounts.values())
        return accounts if not lost else NotYet(f"{lost} lines have not arrived")

    accounts = wait_for(all_counted, state="all lines to arrive", within=20)
    assert {task: account.sent for task, account in accounts.items()} == {
        task: each.written for task, each in later.items()
    }
    held = memory.now(node)
    assert held.pid == node.dockerd.pid
    assert 20 * MIB < not_none(held.anonymous) < not_none(held.rss)
    counts = (held.heap, held.goroutines, held.threads, held.files)
    assert min(not_none(each) for each in counts) > 0
    assert memory.rows(node)
    programs.close()
    memory.save()
    assert list(read_lines(trial.samples("memory")))
    deployed.remove("writer")


def test_a_node_that_was_killed_still_knows_names_and_name_server(
    node: Node, sink: GelfSink, names: NameServer
) -> None:
    node.kill()
    node.start()
    assert f"{sink.address} {sink.hostname}" in node.run(["cat", "/etc/hosts"]).text
    assert node.run(["cat", "/etc/resolv.conf"]).text == f"nameserver {names.address}"
