"""Faults of the network, each measured from outside: by packets that come or do not come.

On this kernel what rules and tbf can do; in a guest, by the item at the end, what netem does:
``pytest tests/integration/test_faults_network.py -k netem --lab microvm``.
"""

from __future__ import annotations

import math
import re
import socket
import statistics
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from bare_trials import bare_trial
from lab_builds import LabOf

from harness.errors import FaultError, MissingError, UsageError
from harness.faults import Faults
from harness.faults.network import NetworkFaults
from harness.faults.network.fabric import Fabric
from harness.faults.network.iptables_save import policies_in
from harness.lab import NamespacesLab, Node, probe_features
from harness.swarm import Swarm, balanced_web
from harness.trial import Expectation, Measures, Trial, read_lines

pytestmark = pytest.mark.integration

_STAMP = struct.Struct("!Id")

#: linux/socket.h. What is asked for without it is cut to net.core.rmem_max, on most machines some
#: 200 KiB: of 6000 datagrams sent at once, those that meet a full buffer would count as lost.
_SO_RCVBUFFORCE = 33

#: Half the width, in standard deviations, of an interval that 1 sample of 30000 leaves.
_SIGMAS = 4.2


# -- what packets do -------------------------------------------------------------------------


class Receiver:
    """Takes UDP datagrams at a place, and keeps their numbers and ways' times."""

    def __init__(self, place: Node, port: int) -> None:
        self.came: list[Any] = []
        self._socket = place.here.network.call(
            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        )
        self._socket.bind((place.address, port))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 24)
        self._socket.settimeout(0.1)
        self._end = False
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        while True:
            try:
                data = self._socket.recv(2048)
            except TimeoutError:
                if self._end:
                    return
            else:
                if len(data) >= _STAMP.size:
                    number, sent = _STAMP.unpack_from(data)
                    self.came.append((number, time.monotonic() - sent))

    def close(self) -> None:
        """Take what has come, also if a busy host let it wait here, and end."""
        self._end = True
        self._thread.join()
        self._socket.close()


def send(
    source: Node, to: Node, port: int, count: int, *, size: Any = _STAMP.size, every: float = 0.0
) -> None:
    """Send numbered datagrams with their times."""
    with closing(
        source.here.network.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    ) as outgoing:
        for number in range(count):
            with suppress(OSError):
                packet = _STAMP.pack(number, time.monotonic()).ljust(size, b"\0")
                outgoing.sendto(packet, (to.address, port))
            if every:
                time.sleep(every)


def received(
    source: Node,
    to: Node,
    port: int,
    count: int,
    *,
    size: Any = _STAMP.size,
    every: float = 0.0,
    settle: float = 0.2,
) -> Any:
    """What of ``count`` datagrams came, as (number, seconds on the way)."""
    with closing(Receiver(to, port)) as receiver:
        send(source, to, port, count, size=size, every=every)
        time.sleep(settle)
    return receiver.came


def udp_passes(source: Any, to: Any, port: int, *, size: int = _STAMP.size) -> bool:
    return bool(received(source, to, port, 3, size=size, settle=0.1))


def tcp_passes(source: Any, to: Any, port: int) -> bool:
    """Whether a SYN is answered, be it by a reset: nobody has to listen."""
    with closing(source.network.call(lambda: socket.socket())) as client:
        client.settimeout(0.3)
        try:
            client.connect((to.address, port))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return True


def within_chance(count: Any, of: Any, share: Any) -> bool:
    """Whether a count is what chance allows when each has the same probability."""
    result: bool = abs(count - of * share) <= _SIGMAS * math.sqrt(of * share * (1 - share)) + 1
    return result


# -- on this kernel --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nodes(lab_of: LabOf) -> Iterator[NamespacesLab]:
    """A small lab of its own: the fixture ``lab`` belongs to scenarios."""
    with lab_of(1, 1) as lab:
        lab.client_host("client")
        yield lab


@contextmanager
def open_trial(folder: Path) -> Iterator[Trial]:
    trial = bare_trial(folder)
    yield trial
    trial.finish(None)


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Trial]:
    with open_trial(tmp_path / "trial") as record:
        yield record


@pytest.fixture
def net(record: Trial, nodes: NamespacesLab) -> Iterator[NetworkFaults]:
    """The network's faults; whatever a test does, nothing is left on the fabric."""
    faults = Faults(record, nodes)
    fabric = Fabric(nodes)
    before = (fabric.tables(), kinds(fabric))
    yield faults.network
    faults.heal_all()
    assert (fabric.tables(), kinds(fabric)) == before


def kinds(fabric: Fabric) -> list[Any]:
    return sorted((qdisc["dev"], qdisc["kind"]) for qdisc in fabric.qdiscs())


@pytest.fixture
def places(nodes: NamespacesLab) -> Any:
    return nodes.node("m1"), nodes.node("w1"), nodes.client_host("client")


def proofs(record: Trial, kind: str) -> Any:
    return [
        line["proof"]
        for line in read_lines(record.folder / "journal.jsonl")
        if line["kind"] == kind
    ]


def test_a_plane_is_cut_and_the_others_are_not(
    net: NetworkFaults, places: Any, record: Trial
) -> None:
    m1, w1, client = places
    with net.cut(net.links(w1, m1), plane="gossip-udp"):
        assert not udp_passes(m1, w1, 7946)
        assert not udp_passes(w1, m1, 7946)
        assert tcp_passes(m1, w1, 7946)
        assert tcp_passes(w1, m1, 2377)
        assert udp_passes(m1, w1, 4790)
        assert udp_passes(client, w1, 7946)
    assert udp_passes(m1, w1, 7946)
    assert udp_passes(w1, m1, 7946)
    # More are the gossip of a swarm, if a test before this one has formed it.
    [proof] = proofs(record, "fault.evidence")
    assert re.fullmatch(r"\d+ packets were dropped, 2 of them probes", proof)


def test_one_direction_is_cut_and_the_other_is_not(net: NetworkFaults, places: Any) -> None:
    m1, w1, _ = places
    with net.one_way(w1, m1, plane="ip"):
        assert not udp_passes(w1, m1, 9999)
        assert udp_passes(m1, w1, 9999)
        assert not tcp_passes(m1, w1, 9999)  # its answer does not come back
    assert udp_passes(w1, m1, 9999)


def test_cuts_overlap_and_each_heals_for_itself(net: NetworkFaults, places: Any) -> None:
    m1, w1, client = places
    everything, data = net.isolate(w1), net.cut(net.links(w1, m1), plane="data")
    with data:
        with everything:
            assert not tcp_passes(client, w1, 2377)
        assert tcp_passes(client, w1, 2377)
        assert not udp_passes(m1, w1, 4789)
        assert udp_passes(client, w1, 4789)
    assert udp_passes(m1, w1, 4789)


def test_a_cut_outlives_its_target_and_holds_for_it_again(net: NetworkFaults, places: Any) -> None:
    m1, w1, _ = places
    with net.cut(net.links(w1, m1), plane="control"):
        w1.kill()
        w1.start()
        assert not tcp_passes(m1, w1, 2377)
        assert tcp_passes(m1, w1, 7946)
    assert tcp_passes(m1, w1, 2377)


def test_a_flapping_link_is_cut_and_whole_in_turns(net: NetworkFaults, places: Any) -> None:
    m1, w1, _ = places
    with (
        closing(Receiver(w1, 9999)) as receiver,
        net.flap(net.links(m1, w1), down=0.5, up=0.5) as f,
    ):
        began = time.monotonic()
        send(m1, w1, 9999, 300, every=0.01)
        phases = (time.monotonic() - began) / 0.5  # six; more where sleeps take longer
        f.hold(3.2)
    came = {number for number, _ in receiver.came}
    changes = sum((number in came) != (number + 1 in came) for number in range(299))
    assert 4 <= changes <= phases + 1
    assert 0.3 < len(came) / 300 < 0.7
    assert udp_passes(m1, w1, 9999)


def test_loss_has_its_rate(net: NetworkFaults, places: Any) -> None:
    m1, w1, _ = places
    count, share = 6000, 0.3
    with net.loss(net.links(m1, w1, direction="out"), share, plane="9999/udp") as loss:
        came = received(m1, w1, 9999, count)
        lost, seen = loss.packet_counts
        assert tcp_passes(m1, w1, 2377)
        assert len(received(w1, m1, 9998, 200)) == 200
    assert within_chance(count - len(came), count, share)
    assert seen >= count
    assert within_chance(lost, seen, share)
    assert len(received(m1, w1, 9999, 500)) == 500


def test_large_packets_vanish_in_an_mtu_black_hole(net: NetworkFaults, places: Any) -> None:
    m1, w1, _ = places
    with net.mtu_black_hole(net.links(m1, w1), size=1300):
        assert udp_passes(m1, w1, 9999, size=1300 - 28)
        assert not udp_passes(m1, w1, 9999, size=1301 - 28)
    assert udp_passes(m1, w1, 9999, size=1472)


def test_a_rate_is_kept_also_for_a_node_that_was_switched_off(
    net: NetworkFaults, places: Any, nodes: NamespacesLab
) -> None:
    m1, w1, _ = places
    size, count, rate = 1000, 100, 4_000_000
    expected = (count * (size + 42) - 16 * 1024) * 8 / rate

    def longest() -> Any:
        """The last packet's way, the median of three: a busy host may stop one of them."""
        return statistics.median(
            max(way for _, way in received(m1, w1, 9999, count, size=size, settle=0.5))
            for _ in range(3)
        )

    with net.rate(net.links(m1, w1), rate, plane="9999/udp"):
        w1.kill()
        w1.start()
        assert expected * 0.8 < longest() < expected * 1.5
    assert longest() < expected / 2


def test_somebody_elses_qdisc_and_a_second_queue_are_refused(
    net: NetworkFaults, places: Any, nodes: NamespacesLab
) -> None:
    m1, w1, _ = places
    nodes.keeper.in_fabric(["tc", "qdisc", "add", "dev", "w1", "root", "handle", "7:", "htb"])
    try:
        with pytest.raises(FaultError, match="not the harness's"):
            net.rate(w1, 1e6).inject()
    finally:
        nodes.keeper.in_fabric(["tc", "qdisc", "del", "dev", "w1", "root"])
    with net.rate(w1, 1e6, plane="gossip"):
        with net.rate(m1, 1e6, plane="data"):
            pass
        with pytest.raises(FaultError, match="contradicts"):
            net.rate(net.links(m1, w1), 1e6, plane="ip").inject()


def test_bad_input_touches_nothing(net: NetworkFaults, places: Any, nodes: NamespacesLab) -> None:
    m1, w1, _ = places
    before = Fabric(nodes).tables()
    for wrong in (
        lambda: net.loss(w1, 1.2),
        lambda: net.cut(w1, plane="gosip"),
        lambda: net.links(w1, w1),
        lambda: net.ring([m1, w1]),
        lambda: net.links([]),
    ):
        with pytest.raises(UsageError):
            wrong()
    if not probe_features().has("netem"):
        with pytest.raises(MissingError, match="netem"):
            net.delay(w1, 0.1).inject()
    assert Fabric(nodes).tables() == before


def test_what_a_node_keeps_of_its_network(
    net: NetworkFaults, places: Any, nodes: NamespacesLab, record: Trial
) -> None:
    _, w1, client = places
    swarm = Swarm.form(nodes)
    web = swarm.deploy(balanced_web(replicas=2))

    with net.reset_connections(w1, plane="control"):
        pass
    with net.flush_conntrack(w1):
        pass
    with net.lose_firewall_rules(w1):
        assert "-A" not in w1.run(["iptables-save"]).text
        if not web.mesh:  # a port of host mode is a rule, and a proxy behind it
            assert "DNAT" not in w1.run(["iptables-save", "-t", "nat"]).text
    assert "DOCKER" in w1.run(["iptables-save"]).text
    web.wait_serving(client, 60)

    policies = policies_in(w1.run(["iptables-save"]).text)
    with net.lose_firewall_rules(w1):
        w1.dockerd.kill()
        w1.start()  # it writes its own rules, and leaves the policies as they are
        assert policies_in(w1.run(["iptables-save"]).text) == frozenset()
    assert policies_in(w1.run(["iptables-save"]).text) == policies == {("filter", ":FORWARD DROP")}
    web.wait_serving(client, 60)

    with net.forget_neighbours(w1) as lost:
        path, _, *_ = lost.entries[0]
        inside = ["nsenter", f"--net={path}", "bridge", "fdb", "show"]
        assert " dst " not in w1.run(inside).text
    assert " dst " in w1.run(inside).text
    assert len(proofs(record, "fault.healed")) == 5


# -- in a guest, where netem is --------------------------------------------------------------


@pytest.mark.swarm(managers=3, workers=2)
@pytest.mark.needs("netem", "htb")
def test_netem_does_what_it_is_told(lab: NamespacesLab, faults: Faults, measure: Measures) -> None:
    """Delay, jitter, bursts, states, duplicates, order and bits, each seen by packets."""
    net, m1, w1 = faults.network, lab.node("m1"), lab.node("w1")
    out = net.links(m1, w1, direction="out")
    port, plane = 9999, "9999/udp"

    def check(name: str, value: Any, low: float, high: float, unit: str = "1") -> None:
        measure(Expectation(name, unit, at_least=low, no_control="a fault's own test"), value)
        assert value <= high, name

    def middle(source: Node, to: Node, port: Any, count: int = 20) -> Any:
        return statistics.median(way for _, way in received(source, to, port, count))

    with net.delay(out, 0.05, plane=plane):
        check("median of 50 ms", middle(m1, w1, port, 50), 0.050, 0.060, "s")
        check("median of the other direction", middle(w1, m1, port), 0, 0.010, "s")
        check("median of another plane", middle(m1, w1, port + 1), 0, 0.010, "s")
    check("median after the heal", middle(m1, w1, port), 0, 0.010, "s")

    with net.delay(out, 0.05, jitter=0.01, distribution="normal", plane=plane):
        ways = [way for _, way in received(m1, w1, port, 400, every=0.001)]
        check("median of 50 ± 10 ms", statistics.median(ways), 0.047, 0.055, "s")
        check("deviation of 50 ± 10 ms", statistics.stdev(ways), 0.007, 0.014, "s")

    with net.bursts(out, to_bad=0.05, to_good=0.5, plane=plane) as bursts:
        came = {number for number, _ in received(m1, w1, port, 2000)}
        lost = set(range(2000)) - came
        check("drops that netem counts", bursts.packet_counts.lost, len(lost), 2000)
    # 9.1 % in runs of 2; over 2000 packets the share varies by 1.1 %, the length by 0.15.
    check("lost in bursts", len(lost) / 2000, 0.045, 0.14)
    runs = sum(number - 1 not in lost for number in lost)
    check("length of a burst", len(lost) / runs, 1.4, 2.7)

    with net.loss_states(out, p13=0.1, p31=0.5, plane=plane):
        lost_by_states = 2000 - len(received(m1, w1, port, 2000))
    # From received to a burst with 0.1, back with 0.5: a sixth, varying by 1.6 %.
    check("lost by states", lost_by_states / 2000, 0.10, 0.24)

    with net.duplicate(out, 0.2, plane=plane):
        numbers = [number for number, _ in received(m1, w1, port, 1000)]
    twice = len(numbers) - len(set(numbers))
    check("come twice", twice / 1000, 0.14, 0.26)

    with net.reorder(out, 0.25, delay=0.01, plane=plane):
        numbers = [number for number, _ in received(m1, w1, port, 200, every=0.001)]
    late = sum(number < max(numbers[:at], default=0) for at, number in enumerate(numbers))
    check("overtaken", late / 200, 0.2, 1)

    with net.corrupt(out, 0.5, plane=plane):
        came = received(m1, w1, port, 400)
    # What a checksum finds is dropped; of a datagram this small it finds nearly all.
    check("dropped for a wrong bit", 1 - len(came) / 400, 0.25, 0.62)

    with net.impair(out, delay=0.02, loss=0.1, plane=plane):
        ways = [way for _, way in received(m1, w1, port, 1000)]
    check("lost of those delayed", 1 - len(ways) / 1000, 0.06, 0.14)
    check("delay of those not lost", statistics.median(ways), 0.020, 0.040, "s")

    with net.delay(out, 0.05, plane=plane), net.loss(out, 0.5, plane=plane):
        with pytest.raises(FaultError, match="contradicts"):
            net.bursts(out, to_bad=0.1, to_good=0.5).inject()
        w1.kill()
        w1.start()
        ways = [way for _, way in received(m1, w1, port, 100)]
        check("delay after a restart", statistics.median(ways), 0.050, 0.060, "s")
        check("lost after a restart", 1 - len(ways) / 100, 0.28, 0.72)
    fabric = Fabric(lab)
    left = len(fabric.tables()) + sum(qdisc["kind"] != "noqueue" for qdisc in fabric.qdiscs())
    check("left on the fabric", left, 0, 0)
