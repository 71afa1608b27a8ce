"""The parts of network faults that are text and bytes: rules, queues, probes, iptables' tables."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stand_ins import UNUSED

from harness.errors import FaultError, UsageError
from harness.faults.links import DirectedLinks, Links
from harness.faults.network import (
    MtuBlackHole,
    NetworkCut,
    NetworkDelay,
    NetworkFlapping,
    NetworkImpaired,
    NetworkLoss,
    NetworkRate,
    NetworkReorder,
    iptables_save,
    qdisc_tree,
    rules,
)
from harness.faults.network.evidence_packets import build
from harness.faults.network.link_fault import LinkFault
from harness.faults.network.netem import (
    Burst,
    Corrupt,
    Delay,
    Duplicate,
    FourStates,
    Loss,
    Reorder,
    netem,
    read_back,
)
from harness.faults.planes import PLANES, Plane, Ports

W1, M = frozenset({"w1"}), frozenset({"m1", "m2"})


# -- rules -----------------------------------------------------------------------------------


def test_ways_are_matched_by_the_names_of_ports() -> None:
    assert rules.ports_match(DirectedLinks(W1, M)) == 'iifname { "w1" } oifname { "m1", "m2" }'
    assert (
        rules.ports_match(DirectedLinks(W1, frozenset())) == 'iifname { "w1" } oifname != { "w1" }'
    )
    assert (
        rules.ports_match(DirectedLinks(frozenset(), M))
        == 'iifname != { "m1", "m2" } oifname { "m1", "m2" }'
    )


def test_a_plane_is_matched_on_both_ends_of_its_flows() -> None:
    assert rules.matches(PLANES["gossip-udp"]) == [
        "meta l4proto udp udp dport { 7946 }",
        "meta l4proto udp udp sport { 7946 }",
    ]
    assert rules.matches(PLANES["everything"]) == [""]
    assert len(rules.matches(PLANES["gossip"])) == 4


@pytest.mark.parametrize("plane", PLANES.values(), ids=str)
def test_a_packet_meets_the_effect_once_however_often_it_matches(plane: Plane) -> None:
    script = rules.script(
        "t", [DirectedLinks(W1, M), DirectedLinks(W1, frozenset())], plane, rules.losing(0.5)
    )
    assert "jump" not in script
    assert script.count("goto effect") == len(rules.matches(plane))
    assert script.startswith("create table bridge t\n")  # and so fails if there is one


def test_a_share_is_kept_to_one_in_2_to_the_24() -> None:
    [rule] = rules.losing(0.1)
    number = int(rule.split("<")[1].split()[0])
    assert number / (1 << 24) == pytest.approx(0.1, abs=1e-7)
    assert rules.losing(1.0) == [rules.DROP]  # the kernel draws numbers below 2 to the 24
    assert rules.losing(1 - 1e-9) == [rules.DROP]
    assert "< 1 " in rules.losing(1e-9)[0]


@pytest.mark.parametrize("name", ['w1"', "a b", "", "x" * 16, "w1;"])
def test_a_name_that_is_none_never_comes_into_a_rule(name: str) -> None:
    with pytest.raises(UsageError):
        rules.ports_match(DirectedLinks(frozenset({name}), M))


# -- netem -----------------------------------------------------------------------------------


def test_effects_in_the_words_of_tc() -> None:
    words = netem([Delay(0.05, 0.01), Burst(0.05, 0.5), Duplicate(0.2), Reorder(0.25)])
    assert words == (
        "netem limit 100000 delay 50000us 10000us distribution normal "
        "loss gemodel 5.000000% 50.000000% 100.000000% 0.000000% "
        "duplicate 20.000000% reorder 25.000000%"
    )
    assert Delay(0.0015).arguments() == "delay 1500us"
    assert Delay(1, 0.5, "uniform").arguments() == "delay 1000000us 500000us"
    assert FourStates(0.01).arguments().startswith("loss state 1.000000% 100.000000% ")


SAID = {  # by tc of iproute2 6.15, of netem on a kernel 6.12
    "limit": 100000,
    "delay": {"delay": 0.05, "jitter": 0.01, "correlation": 0},
    "loss-gemodel": {"p": 0.05, "r": 0.5, "1-h": 1, "1-k": 0},
    "duplicate": {"duplicate": 0.2, "correlation": 0},
    "gap": 1,
}


def test_what_the_kernel_says_is_held_against_what_was_asked() -> None:
    asked = [Delay(0.05, 0.01), Burst(0.05, 0.5), Duplicate(0.2)]
    assert read_back(asked, SAID) == ""
    assert "jitter" in read_back([Delay(0.05)], SAID)
    assert "1-h" in read_back([Burst(0.05, 0.5, bad_loss=0.9)], SAID)
    assert read_back([Corrupt(0.1)], SAID) == "it has no corrupt"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Loss(-0.1),
        lambda: Loss(1.1),
        lambda: Loss(0),
        lambda: Loss("10%"),  # type: ignore[arg-type]
        lambda: Loss(float("nan")),
        lambda: Delay(0),
        lambda: Delay(-1),
        lambda: Delay(61),
        lambda: Delay(1, distribution="gauss"),
        lambda: Burst(0, 0.5),
        lambda: Burst(0.5, 1.5),
        lambda: FourStates(0),
        lambda: netem([Reorder(0.5)]),
        lambda: netem([Loss(0.1), Burst(0.1, 0.1)]),
        lambda: netem([Loss(0.1), Loss(0.2)]),
    ],
)
def test_effects_that_cannot_be_are_refused(make: Callable[..., Any]) -> None:
    with pytest.raises(UsageError):
        make()


LAB: Any = SimpleNamespace(nodes=dict.fromkeys(["m1", "w1"]), client_hosts={}, fabric=())


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        (NetworkLoss, {"share": -0.1}),
        (NetworkLoss, {"share": 1.01}),
        (NetworkLoss, {"share": 0.1, "plane": "gosip"}),
        (NetworkCut, {"plane": "0/tcp"}),
        (NetworkFlapping, {"down": 0}),
        (NetworkFlapping, {"up": "5s"}),
        (MtuBlackHole, {"size": 1500}),
        (MtuBlackHole, {"size": 20}),
        (NetworkRate, {"rate": 0}),
        (NetworkRate, {"rate": 1e12}),
        (NetworkDelay, {"delay": -1}),
        (NetworkReorder, {"share": 0.5, "delay": 0}),
        (NetworkImpaired, {}),
        (NetworkImpaired, {"reorder": 0.5}),
    ],
)
def test_a_fault_with_a_value_that_cannot_be_is_refused_when_it_is_made(
    kind: type[LinkFault], parameters: Any
) -> None:
    links = Links.by_name(LAB, ["w1"])
    with pytest.raises(UsageError):
        kind(UNUSED, links, **parameters)


# -- queues on ports -------------------------------------------------------------------------


class Recorded:
    """A fabric that keeps its qdiscs in a list and understands four commands of tc."""

    def __init__(self, *names: str) -> None:
        self.roots = {name: {"kind": "noqueue", "handle": "0:"} for name in names}
        self.leaves: dict[tuple[str, str], str] = {}

    def qdiscs(self) -> Any:
        roots = [{"dev": name, "root": True, **root} for name, root in self.roots.items()]
        return roots + [
            {"dev": dev, "parent": parent, "kind": kind}
            for (dev, parent), kind in self.leaves.items()
        ]

    def tc(self, commands: Sequence[str]) -> None:
        for words in map(str.split, commands):
            what, device = words[:2], words[3]
            match what:
                case ["qdisc", "add"] if words[4] == "root":
                    assert self.roots[device]["kind"] == "noqueue"
                    self.roots[device] = {"kind": words[7], "handle": words[6]}
                case ["qdisc", "add"]:
                    assert (device, words[5]) not in self.leaves
                    self.leaves[device, words[5]] = words[8]
                case ["qdisc", "del"]:
                    self.roots[device] = {"kind": "noqueue", "handle": "0:"}
                    self.leaves = {key: v for key, v in self.leaves.items() if key[0] != device}
                case ["class", "del"]:
                    del self.leaves[device, words[5]]
                case ["class", "add"]:
                    pass
                case _:
                    raise AssertionError(words)


def test_queues_come_and_go_and_the_last_one_takes_the_tree_along() -> None:
    fabric: Any = Recorded("m1", "w1")
    before = fabric.qdiscs()
    assert qdisc_tree.attach(fabric, ["w1", "not-there"], 1, "tbf rate 1bit") == ["w1"]
    assert qdisc_tree.attach(fabric, ["w1", "m1"], 2, "netem delay 1us") == ["m1", "w1"]
    assert qdisc_tree.attach(fabric, ["w1", "m1"], 2, "netem delay 1us") == []
    assert [leaf.port for leaf in qdisc_tree.leaves(fabric, 2)] == ["m1", "w1"]
    qdisc_tree.detach(fabric, 1)
    assert not qdisc_tree.leaves(fabric, 1)
    assert len(qdisc_tree.leaves(fabric, 2)) == 2
    qdisc_tree.detach(fabric, 1)  # once more changes nothing
    qdisc_tree.detach(fabric, 2)
    assert fabric.qdiscs() == before


def test_somebody_elses_qdisc_is_left_alone() -> None:
    fabric: Any = Recorded("m1", "w1")
    fabric.roots["w1"] = {"kind": "fq_codel", "handle": "8001:"}
    before = fabric.qdiscs()
    assert qdisc_tree.foreign(fabric, ["m1", "w1"]) == {"w1": "fq_codel"}
    with pytest.raises(FaultError, match="left alone"):
        qdisc_tree.attach(fabric, ["m1", "w1"], 1, "tbf rate 1bit")
    qdisc_tree.detach(fabric, 1)
    assert fabric.qdiscs() == before


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["attach", "detach", "gone"]),
            st.integers(min_value=1, max_value=3),
            st.sets(st.sampled_from(["m1", "w1", "w2"]), min_size=1),
        ),
        max_size=12,
    )
)
def test_whatever_the_order_lifting_all_ends_where_it_began(
    steps: Sequence[tuple[str, int, set[str]]],
) -> None:
    fabric: Any = Recorded("m1", "w1", "w2")
    before = fabric.qdiscs()
    for step, slot, names in steps:
        if step == "attach":
            qdisc_tree.attach(fabric, names, slot, "netem delay 1us")
        elif step == "detach":
            qdisc_tree.detach(fabric, slot)
        else:  # the cable of a node is a new one, without anything on it
            for name in names:
                fabric.roots[name] = {"kind": "noqueue", "handle": "0:"}
                fabric.leaves = {key: v for key, v in fabric.leaves.items() if key[0] != name}
    for slot in (1, 2, 3):
        qdisc_tree.detach(fabric, slot)
    assert fabric.qdiscs() == before


# -- probes ----------------------------------------------------------------------------------


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    result: int = ~total & 0xFFFF
    return result


@pytest.mark.parametrize(("protocol", "number"), [("tcp", 6), ("udp", 17)])
@pytest.mark.parametrize("size", [0, 1500])
def test_a_probe_is_of_its_plane_and_no_receiver_takes_it(
    protocol: Any, number: int, size: int
) -> None:
    packet = build("198.18.0.101", "198.18.0.102", Ports(protocol, (7946,)), size)
    assert len(packet) == max(size, 40 if protocol == "tcp" else 28)
    assert packet[9] == number
    source, destination = packet[12:16], packet[16:20]
    assert socket.inet_ntoa(destination) == "198.18.0.102"
    body = packet[20:]
    assert struct.unpack("!HH", body[:4]) == (7946, 7946)
    pseudo = source + destination + struct.pack("!BBH", 0, number, len(body))
    assert checksum(pseudo + body) != 0  # 0 is what a receiver wants to see
    if protocol == "udp":
        assert body[6:8] != b"\0\0"  # which would mean that there is none


# -- iptables' tables ------------------------------------------------------------------------

SAVED = """\
# Generated by iptables-save
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [1:2]
:DOCKER - [0:0]
-A FORWARD -j DOCKER
-A DOCKER -j RETURN
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j ACCEPT
COMMIT
"""


def test_emptied_tables_have_no_rule_no_own_chain_and_let_all_pass() -> None:
    assert iptables_save.emptied(SAVED) == (
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"
        "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n"
    )


def test_what_was_added_meanwhile_stays_and_comes_first() -> None:
    present = (
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:NEW - [0:0]\n"
        "-A FORWARD -j NEW\nCOMMIT\n*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j ACCEPT\nCOMMIT\n"
    )
    whole = iptables_save.merged(SAVED, present)
    assert iptables_save.rules_in(whole) == iptables_save.rules_in(SAVED) | iptables_save.rules_in(
        present
    )
    assert whole.index("-A FORWARD -j NEW") < whole.index("-A FORWARD -j DOCKER")
    assert ":FORWARD DROP [1:2]" in whole
    assert whole.count(":FORWARD") == 1


def test_policies_are_put_back_without_the_rules() -> None:
    assert iptables_save.policies_in(SAVED) == {("filter", ":FORWARD DROP")}
    assert iptables_save.only_policies(SAVED) == "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n"
    assert iptables_save.policies_in(iptables_save.emptied(SAVED)) == frozenset()


chains = st.sampled_from(["INPUT", "FORWARD", "DOCKER", "DOCKER-USER"])
listed = st.lists(chains, unique=True, min_size=1).flatmap(
    lambda names: st.lists(
        st.tuples(st.sampled_from(names), st.integers(0, 9)), max_size=6, unique=True
    ).map(lambda lines: table(names, lines))
)


def table(names: Sequence[str], lines: Sequence[tuple[str, int]]) -> str:
    head = "\n".join(f":{name} {'-' if 'DOCKER' in name else 'ACCEPT'} [0:0]" for name in names)
    body = "".join(f"-A {name} -s 10.0.0.{number}\n" for name, number in lines)
    return f"*filter\n{head}\n{body}COMMIT\n"


@given(listed, listed)
def test_two_lists_made_one_have_the_rules_of_both(saved: str, present: str) -> None:
    whole = iptables_save.merged(saved, present)
    assert iptables_save.rules_in(whole) == iptables_save.rules_in(saved) | iptables_save.rules_in(
        present
    )
    kept = [line for line in whole.splitlines() if line.startswith("-A")]
    order = [line for line in saved.splitlines() if line.startswith("-A")]
    assert [line for line in kept if line in order] == order
    assert iptables_save.merged(whole, present) == whole


def test_the_priority_of_a_slot_is_a_class_of_our_tree() -> None:
    assert qdisc_tree.priority(255) == "5c4a:ff"
