"""A loss is proven by packets that are lost, in the number asked for, or it is not proven."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import FaultError
from harness.faults.links import Links
from harness.faults.network import NetworkCut, NetworkLoss, drop_faults, link_fault
from harness.faults.network.link_fault import PacketCounts

LAB: Any = SimpleNamespace(nodes={"m1": None, "w1": None}, client_hosts={}, fabric=())
TRIAL: Any = SimpleNamespace()


class Rule:
    """A rule that loses every n-th packet of those that are sent through it."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.counts = PacketCounts(0, 0)

    def send(self, probes: list[object], plane: object, *, times: int) -> int:
        seen = self.counts.seen + times * len(probes)
        self.counts = PacketCounts(seen // self.every if self.every else 0, seen)
        return times * len(probes)


def loss_through(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> NetworkLoss:
    monkeypatch.setattr(NetworkLoss, "packet_counts", property(lambda _: rule.counts))
    monkeypatch.setattr(drop_faults, "send", rule.send)
    monkeypatch.setattr(link_fault, "probes_for", lambda _: ["m1", "w1"])
    return NetworkLoss(TRIAL, Links.by_name(LAB, ["w1"]), 0.1, plane="gossip")


def test_the_rate_is_measured_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = loss_through(Rule(every=10), monkeypatch)
    assert loss.evidence() == "20 of 200 packets were lost (10.0%, 10.0% asked for)"
    assert loss.measured == {"lost": 20, "seen": 200}


@pytest.mark.parametrize(("every", "lost"), [(0, 0), (2, 100), (100, 2)])
def test_another_rate_than_asked_for_is_no_evidence(
    monkeypatch: pytest.MonkeyPatch, every: int, lost: int
) -> None:
    loss = loss_through(Rule(every), monkeypatch)
    with pytest.raises(FaultError, match=f"lost {lost} of 200 packets, .* not fit a share of 0.1"):
        loss.evidence()


def test_a_total_loss_is_proven_while_packets_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = iter([PacketCounts(299, 300), PacketCounts(300, 301), PacketCounts(310, 311)])
    monkeypatch.setattr(NetworkLoss, "packet_counts", property(lambda _: next(counted)))
    monkeypatch.setattr(link_fault, "probes_for", lambda _: ["m1"])
    loss = NetworkLoss(TRIAL, Links.by_name(LAB, ["w1"]), 1.0, plane="gossip")
    assert loss.evidence().startswith("301 of 301 packets were lost")


def test_without_a_place_that_can_send_nothing_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_fault, "probes_for", lambda _: [])
    links = Links.by_name(LAB, ["w1"])
    for fault in (NetworkCut(TRIAL, links), NetworkLoss(TRIAL, links, 0.1)):
        for step in (fault.precheck, fault.evidence):
            with pytest.raises(FaultError, match="no probe packet could prove"):
                step()


def test_probes_that_cannot_be_sent_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_fault, "probes_for", lambda _: ["m1"])
    monkeypatch.setattr(link_fault, "send", lambda *_, **__: 0)
    monkeypatch.setattr(NetworkCut, "_counted", lambda *_: 0)
    with pytest.raises(FaultError, match="no probe packet could be sent"):
        NetworkCut(TRIAL, Links.by_name(LAB, ["w1"])).evidence()
