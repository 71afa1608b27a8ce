"""A door into a network: a call that blocks delays no other."""

from __future__ import annotations

import threading

import pytest

from harness.errors import LabError
from harness.lab import network
from harness.lab.network import NetworkDoor


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> NetworkDoor:
    monkeypatch.setattr(NetworkDoor, "_enter", lambda _: None)
    return NetworkDoor(1, "w1")


def test_a_call_that_blocks_delays_no_other(door: NetworkDoor) -> None:
    end = threading.Event()
    server = threading.Thread(target=lambda: door.call(lambda: end.wait(30)))
    server.start()
    try:
        assert door.call(lambda: "answer") == "answer"
    finally:
        end.set()
        server.join()
        door.close()


def test_more_calls_than_there_are_threads_are_refused(
    door: NetworkDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = threading.Event()
    inside = threading.Barrier(network._CALLS_AT_ONCE + 1)

    def serve() -> None:
        inside.wait(30)
        end.wait(30)

    servers = [
        threading.Thread(target=lambda: door.call(serve)) for _ in range(network._CALLS_AT_ONCE)
    ]
    for server in servers:
        server.start()
    inside.wait(30)
    try:
        with pytest.raises(LabError, match="16 calls in the network of w1 have not returned"):
            door.call(lambda: "never")
    finally:
        end.set()
        for server in servers:
            server.join()
    assert door.call(lambda: "again") == "again"
    door.close()
