"""What probes read from dockerd: logs, gossip, containers, the words of its API."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.probes.api import outcome_of
from harness.probes.containers import life_of
from harness.probes.gossip_log import LINE, Change, changes_of
from harness.probes.logs import PATTERNS, lines_in
from harness.probes.sampling.timestamps import epoch_seconds

AT = datetime(2026, 11, 23, 4, 23, 0, tzinfo=UTC).timestamp()
COMPILED = {name: re.compile(words) for name, words in PATTERNS.items()}


def line(second: float, said: str, level: str = "info") -> str:
    return f'time="2026-11-23T04:23:{second:012.9f}Z" level={level} msg="{said}"\n'


#: As 26.1.5 writes them.
SAID = {
    "suspect": "memberlist: Suspect ad0f0cbd251a has failed, no acks received",
    "marked failed": "memberlist: Marking ad0f0cbd251a as failed, suspect timeout reached (0 peer "
    "confirmations)",
    "refuted": "memberlist: Refuting a suspect message (from: 5d42fbf8697b)",
    "node failed": "Node ad0f0cbd251a change state NodeActive --> NodeFailed",
    "node left": "Node ad0f0cbd251a change state NodeFailed --> NodeLeft",
    "transient state": "rmServiceBinding a05e74 possible transient state ok:false entries:0",
    "bad health": "NetworkDB stats m1(5d42) - healthscore:3 (connectivity issues)",
    "session failed": "agent: session failed",
    "no leader": "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible",
    "lost leader": "raft.node: 1f34936010fd8aef lost leader 531fec5faed379cf at term 3",
    "deadline": "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
    "log lost": "Error writing log message",
}


@pytest.mark.parametrize(("pattern", "said"), SAID.items())
def test_lines_of_interest_are_known(pattern: str, said: str) -> None:
    found, last = lines_in(line(7.5, said), COMPILED, to_trial_time=-AT)
    assert (7.5, pattern) in [(t, name) for t, name, _ in found]
    assert last == 7.5


def test_a_suspect_is_not_a_death() -> None:
    text = line(1, SAID["suspect"]) + line(2, SAID["refuted"])
    names = [name for _, name, _ in lines_in(text, COMPILED, to_trial_time=-AT)[0]]
    assert names == ["suspect", "refuted"]


def test_a_line_without_a_stamp_has_the_time_of_the_one_before() -> None:
    found, last = lines_in(
        line(3, "quiet") + "panic: oh\n", COMPILED, to_trial_time=-AT, before=1.0
    )
    assert found == [(3.0, "panic", "panic: oh")]
    found, _ = lines_in("panic: oh\n", COMPILED, to_trial_time=-AT, before=last)
    assert found[0][0] == 3.0


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    for _, name, said in lines_in(text, COMPILED, to_trial_time=0.0)[0]:
        assert COMPILED[name].search(said)
    changes_in({"m1": text}, {})


def changes_in(logs: dict[str, str], names: dict[str, str]) -> list[Change]:
    """The changes in texts by node, at the seconds of :func:`line`."""
    matches = [(node, list(LINE.finditer(text))) for node, text in logs.items()]
    return changes_of(matches, names, to_trial_time=-AT)


def joined(second: int, id_: str, address: str) -> str:
    return line(second, f"Node {id_}/{address}, joined gossip cluster")


def new(second: int, id_: str) -> str:
    config = f"Node:x will use memberlist nodeID:{id_} with config:&{{NodeID:{id_}}}"
    return line(second, f"New memberlist node - {config}")


NAMES = {"198.18.0.101": "m1", "198.18.0.102": "w1"}
M1 = (
    new(1, "aaaaaaaaaaaa")
    + joined(2, "bbbbbbbbbbbb", "198.18.0.102")
    + line(10, "memberlist: Suspect bbbbbbbbbbbb has failed, no acks received")
    + line(14, "Node bbbbbbbbbbbb change state NodeActive --> NodeFailed")
    + joined(20, "cccccccccccc", "198.18.0.102")
    + line(20.5, "Node bbbbbbbbbbbb change state NodeFailed --> NodeLeft")
)
W1 = new(1, "bbbbbbbbbbbb") + joined(2, "aaaaaaaaaaaa", "198.18.0.101")


def test_gossip_is_told_by_node_whatever_its_ids() -> None:
    found = changes_in({"m1": M1, "w1": W1}, NAMES)
    told = [(c.t, c.by, c.about, c.kind) for c in found if c.by == "m1"]
    assert told == [
        (2.0, "m1", "w1", "joined"),
        (10.0, "m1", "w1", "suspect"),
        (14.0, "m1", "w1", "failed"),
        (20.0, "m1", "w1", "joined"),
        (20.5, "m1", "w1", "left"),
    ]


def test_a_node_that_refutes_speaks_of_itself() -> None:
    text = line(5, "memberlist: Refuting a suspect message (from: aaaaaaaaaaaa)")
    [found] = changes_in({"w1": text}, NAMES)
    assert (found.by, found.about, found.kind) == ("w1", "w1", "refuted")


def test_an_id_that_nobody_resolves_is_kept() -> None:
    text = line(5, "Node ffffffffffff change state NodeActive --> NodeFailed")
    [found] = changes_in({"m1": text}, NAMES)
    assert found.about == "ffffffffffff"


@pytest.mark.parametrize(
    ("status", "words", "outcome"),
    [
        (201, "", "ok"),
        (503, "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible "
         "that too few managers are online.", "no leader"),
        (500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded", "deadline"),
        (503, "This node is not a swarm manager. Use docker swarm init", "no manager"),
        (500, "raft: failed to process the request: node lost leader status", "lost leader"),
        (409, "rpc error: code = AlreadyExists desc = secret x already exists", "error"),
    ],
)  # fmt: skip
def test_an_answer_is_told_by_its_words(status: int, words: str, outcome: str) -> None:
    assert outcome_of(status, words) == outcome


INSPECTED: dict[str, Any] = {
    "Id": "c1",
    "Config": {
        "Labels": {
            "com.docker.swarm.service.name": "app.v2",
            "com.docker.swarm.task.name": "app.v2.3.xyz",
            "com.docker.swarm.task.id": "xyz",
        }
    },
    "State": {"StartedAt": "2026-11-23T04:23:05.25Z", "FinishedAt": "", "Running": True, "Pid": 9},
    "NetworkSettings": {
        "Networks": {
            "web": {"IPAddress": "10.0.1.7", "IPAMConfig": {"IPv4Address": "10.0.1.7"}},
            "ingress": {"IPAddress": "", "IPAMConfig": {"IPv4Address": "10.0.0.9"}},
            "none": {"IPAddress": "", "IPAMConfig": None},
        }
    },
}


def at(epoch: float) -> float:
    return epoch - AT


def test_a_container_is_read_into_a_life() -> None:
    life = life_of("w1", INSPECTED, at)
    assert (life.service, life.slot, life.task, life.node) == ("app.v2", "3", "xyz", "w1")
    assert life.name == "app.v2.3.xyz"
    assert life.addresses == {"web": "10.0.1.7", "ingress": "10.0.0.9"}
    assert (life.started, life.serving, life.ended) == (5.25, 5.25, None)
    assert life.runs_at(6.0)
    assert not life.runs_at(5.0)


def test_a_checked_container_serves_when_it_is_healthy() -> None:
    checked = {**INSPECTED["Config"], "Healthcheck": {"Test": ["CMD", "true"]}}
    starting = {**INSPECTED["State"], "Health": {"Status": "starting"}}
    healthy = {**INSPECTED["State"], "Health": {"Status": "healthy"}}
    assert life_of("w1", {**INSPECTED, "Config": checked, "State": starting}, at).serving is None
    assert life_of("w1", {**INSPECTED, "Config": checked, "State": healthy}, at).serving == 5.25


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)), st.integers(0, 999_999_999))
def test_a_stamp_is_read_to_the_nanosecond(when: datetime, nano: int) -> None:
    stamp = f"{when:%Y-%m-%dT%H:%M:%S}.{nano:09d}Z".replace(f"{when:%Y}", f"{when.year:04d}", 1)
    whole = when.replace(microsecond=0, tzinfo=UTC).timestamp()
    assert epoch_seconds(stamp) == pytest.approx(whole + nano / 1e9, abs=1e-6)


@pytest.mark.parametrize("stamp", ["", "yesterday", "2026-13-45T99:00:00Z"])
def test_what_is_no_stamp_is_0(stamp: str) -> None:
    assert epoch_seconds(stamp) == 0.0
