"""Datagrams and connections that live long, against a peer on the loopback that can misbehave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bare_trials import bare_trial
from optionals import not_none

from harness.errors import LoadError
from harness.load import ECHO_PORT, Datagrams, LongConnections, echo_service
from harness.trial import Trial
from harness.wait import NotYet, wait_for


@pytest.fixture
def open_trial(tmp_path: Path) -> Iterator[Trial]:
    trial = bare_trial(tmp_path / "trial")
    yield trial
    trial.finish(None)


def here(make: Callable[[], socket.socket]) -> socket.socket:
    return make()


class Peer:
    """Answers as the echo program does; ``silent`` makes it swallow what it gets.

    ``late`` is after how many seconds it answers a datagram.
    """

    def __init__(self) -> None:
        self.silent = False
        self.late = 0.0
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.taken: list[socket.socket] = []
        self.ports_seen: set[int] = set()

    def start(self) -> None:
        for work in (self._datagrams, self._accept):
            threading.Thread(target=work, daemon=True).start()

    def _datagrams(self) -> None:
        while True:
            try:
                data, at = self.udp.recvfrom(4096)
            except OSError:
                return
            if not at:  # it was shut down
                return
            self.ports_seen.add(at[1])
            if not self.silent:
                answer = partial(self._answer, data, at)
                threading.Timer(self.late, answer).start() if self.late else answer()

    def _answer(self, data: bytes, at: Any) -> None:
        with suppress(OSError):  # it was closed meanwhile
            self.udp.sendto(b"echo.1.abc " + data, at)

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self.tcp.accept()
            except OSError:
                return
            self.taken.append(taken)
            threading.Thread(target=self._lines, args=(taken,), daemon=True).start()

    def _lines(self, taken: socket.socket) -> None:
        with taken, suppress(OSError):
            while data := taken.recv(4096):
                if not self.silent:
                    taken.sendall(b"echo.1.abc " + data)

    def end_connections(self) -> None:
        taken, self.taken = self.taken, []
        for each in taken:
            with suppress(OSError):  # the other side was quicker
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for each in (self.udp, self.tcp):
            with suppress(OSError):  # it is not connected
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.end_connections()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    made.start()
    yield made
    made.close()


@contextmanager
def flowing(peer: Peer, trial: Trial) -> Iterator[Datagrams]:
    with Datagrams(here, peer.udp.getsockname(), trial, every=0.02) as flow:
        yield flow


def until(state: str, true: Callable[[], object]) -> None:
    wait_for(lambda: bool(true()) or NotYet("not yet"), state=state, within=10.0, every=0.01)


def test_datagrams_keep_their_port_and_name_who_answers(peer: Peer, open_trial: Trial) -> None:
    with flowing(peer, open_trial) as flow:
        assert flow.time_to_answer(within=5.0).reached
        until("ten are sent", lambda: len(flow.sent) >= 10)
    assert (flow.tasks, len(peer.ports_seen)) == ({"echo.1.abc"}, 1)
    assert flow.share_lost() == 0
    assert not_none(flow.longest_gap()).reached
    assert len(open_trial.samples("datagrams").read_text().splitlines()) == len(flow.sent)


def test_the_last_datagrams_answer_is_waited_for_as_any_other(
    peer: Peer, open_trial: Trial
) -> None:
    peer.late = 0.3
    with flowing(peer, open_trial) as flow:
        until("one is sent", lambda: flow.sent)
    assert flow.share_lost() == 0


def test_a_gap_is_as_long_as_nobody_answered(peer: Peer, open_trial: Trial) -> None:
    with flowing(peer, open_trial) as flow:
        flow.time_to_answer(within=5.0)
        peer.silent = True
        sent = len(flow.sent)
        until("more are sent", lambda: len(flow.sent) >= sent + 10)
        assert not not_none(flow.longest_gap()).reached
        peer.silent = False
        flow.time_to_answer(within=5.0)
    gap = not_none(flow.longest_gap())
    assert gap.reached
    assert gap.seconds >= 9 * 0.02
    assert 0 < (flow.share_lost() or 0) < 1


def test_who_sent_nothing_has_seen_nothing(open_trial: Trial) -> None:
    assert Datagrams(here, ("127.0.0.1", 9), open_trial).longest_gap() is None
    assert LongConnections(here, ("127.0.0.1", 9), open_trial).longest_silence() is None


def test_nothing_that_listens_is_no_trouble_of_the_client(open_trial: Trial) -> None:
    with Datagrams(here, ("127.0.0.1", 9), open_trial, every=0.02) as flow:
        assert not flow.time_to_answer(within=0.2).reached
    assert flow.share_lost() == 1
    assert open_trial.doubts == []


def test_connections_stay_and_are_made_again_when_they_end(peer: Peer, open_trial: Trial) -> None:
    address = peer.tcp.getsockname()
    with LongConnections(here, address, open_trial, users=3, every=0.02) as users:
        assert users.time_to_all_answered(within=5.0).reached
        assert len(users.connections) == 3
        peer.end_connections()
        until("all have ended", lambda: sum(users.ended.values()) == 3)
        assert users.time_to_all_answered(within=5.0).reached
    assert users.ended == {"closed": 3, "reset": 0, "silent": 0, "refused": 0}
    assert {each.task for each in users.connections} == {"echo.1.abc"}


def test_a_connection_that_says_nothing_is_silent(peer: Peer, open_trial: Trial) -> None:
    address = peer.tcp.getsockname()
    with LongConnections(here, address, open_trial, users=1, every=0.02, patience=0.2) as users:
        users.time_to_all_answered(within=5.0)
        peer.silent = True
        until("it is given up", lambda: users.ended["silent"])
        peer.silent = False
        assert users.time_to_all_answered(within=5.0).reached
    assert not_none(users.longest_silence()) >= 0.2


def test_a_port_that_refuses_is_tried_again(open_trial: Trial) -> None:
    with LongConnections(here, ("127.0.0.1", 9), open_trial, users=1, every=0.02) as users:
        until("it was refused twice", lambda: users.ended["refused"] >= 2)
        assert not users.time_to_all_answered(within=0.1).reached
    assert open_trial.doubts == []


def test_a_client_is_started_once(peer: Peer, open_trial: Trial) -> None:
    with flowing(peer, open_trial) as flow:
        pass
    with pytest.raises(LoadError, match="was started before"):
        flow.__enter__()


def test_what_ends_a_client_early_is_a_doubt(open_trial: Trial) -> None:
    def nowhere(_: object) -> socket.socket:
        raise LoadError("there is no such place")

    with Datagrams(nowhere, ("127.0.0.1", 9), open_trial):
        pass
    assert open_trial.doubts == ["the client datagrams stopped early: there is no such place"]


def test_the_echo_program_is_one_that_compiles() -> None:
    service = echo_service(networks=("web",))
    compile(service.command[-1], "echo", "exec")
    assert str(ECHO_PORT) in service.command[-1]
