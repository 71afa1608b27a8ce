"""Whether a manager follows a leader, by what its raft writes to dockerd's log."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import ExpectationTimeout
from harness.swarm import SwarmClient
from harness.swarm.client import follows_a_leader

LINE = 'time="2026-11-30T15:18:32Z" level=info msg="{}"\n'
START = LINE.format("newRaft 16bdf4aa [peers: [], term: 0, commit: 0]")
FOLLOWS = LINE.format("raft.node: 16bdf4aa elected leader 421966b3 at term 2")
CHANGED = LINE.format("raft.node: 16bdf4aa changed leader from 421966b3 to 63942d68 at term 3")
LOST = LINE.format("raft.node: 16bdf4aa lost leader 63942d68 at term 4")


@pytest.mark.parametrize(
    ("log", "follows"),
    [
        ("", False),
        (START, False),
        (START + FOLLOWS, True),
        (START + CHANGED, True),
        (START + LOST, False),
        (START + FOLLOWS + START, False),
        (START + FOLLOWS + START + FOLLOWS, True),
        (FOLLOWS, False),
    ],
)
def test_it_follows_whom_it_has_heard_of_since_its_last_start(log: str, follows: bool) -> None:
    assert follows_a_leader(log) is follows


def manager(folder: Path, name: str, log: str) -> Any:
    path = folder / f"{name}.log"
    path.write_text(log)
    return SimpleNamespace(name=name, log=path)


def test_all_managers_are_waited_for(tmp_path: Path) -> None:
    swarm = SwarmClient(SimpleNamespace(nodes={}))
    m1 = manager(tmp_path, "m1", START + FOLLOWS)
    m2 = manager(tmp_path, "m2", START)
    with pytest.raises(ExpectationTimeout, match="m2 heard of no leader yet"):
        swarm.wait_for_raft([m1, m2], within=0.1)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(swarm.wait_for_raft, [m1, m2])
        assert not waits.done()
        m2.log.write_text(START + FOLLOWS)
        waits.result()
