"""What a frozen swarm is made of follows from its engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from harness.engine import EngineFacts
from harness.snapshots.swarm_snapshot import machine_for
from harness.vm.machine import Machine


def engine(cgroups: Any) -> EngineFacts:
    return EngineFacts(
        name="x",
        version="19.03.15" if cgroups == "v1" else "26.1.5",
        source="dir:/x",
        digest="d" * 64,
        dockerd="/usr/local/bin/dockerd",
        path="/usr/bin",
        cgroups=cgroups,
        containerd="1.3.9",
        cli="none",
    )


@pytest.mark.parametrize(
    ("layouts", "wanted"),
    [(["v2"], 2), (["v2", "v2"], 2), (["v1"], 1), (["v2", "v1"], 1), (["v1", "v2"], 1)],
)
def test_one_engine_that_knows_no_other_decides_on_the_cgroup_layout(
    layouts: Sequence[str], wanted: int
) -> None:
    machine = machine_for([engine(layout) for layout in layouts], Machine(cpus=2))
    assert machine == Machine(cpus=2, cgroup=wanted)
    assert f"microvm.cgroup={wanted}" in machine.kernel_command_line(1)
