"""Certificates are counted by the files that nodes keep them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.probes.certificates import Renewals
from harness.wait import NotYet, wait_for


class FakeNode:
    """A node's name, its folder, and the certificate in it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.dir = folder / name
        self._file = self.dir / "data" / "swarm" / "certificates" / "swarm-node.crt"
        self._file.parent.mkdir(parents=True)
        self.here = self

    def get(self, certificate: str) -> None:
        """Write another certificate as an engine does: whole, by a rename."""
        new = self._file.with_suffix(".new")
        new.write_text(certificate)
        new.replace(self._file)


def seen(renewals: Renewals, name: str, count: int) -> None:
    wait_for(
        lambda: renewals.counts[name] == count or NotYet(renewals.listed()),
        state=f"{count} renewals of {name}",
        within=5,
        every=0.005,
    )


def test_each_other_certificate_of_a_node_counts_once(tmp_path: Path) -> None:
    nodes: list[Any] = [FakeNode(tmp_path, "m1"), FakeNode(tmp_path, "w1")]
    for node in nodes:
        node.get("first")
    renewals = Renewals(nodes)
    with renewals.watch(every=0.005):
        nodes[1].get("second")
        seen(renewals, "w1", 1)
        nodes[1].get("third")
        seen(renewals, "w1", 2)
        nodes[1].get("third")
        nodes[0].get("second")
    assert renewals.counts == {"m1": 1, "w1": 2}, "the end of the block looks once more"
    assert renewals.most() == 2
    assert renewals.listed() == "m1 1, w1 2"


def test_a_first_certificate_is_no_renewal(tmp_path: Path) -> None:
    node: Any = FakeNode(tmp_path, "s1")
    renewals = Renewals([node])
    with renewals.watch(every=60):
        node.get("first")
    assert (renewals.most(), renewals.listed()) == (0, "")
