"""The sink's program on the loopback: every way it can behave, and back."""

from __future__ import annotations

import gzip
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from harness.services.servers.gelf_sink import Sink
from harness.wait import NotYet, wait_for


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        result: int = probe.getsockname()[1]
        return result


class Running:
    """A sink in a thread, with its orders given through a pipe as they are for real."""

    def __init__(self) -> None:
        self.port = free_port()
        self.rows: list[Any] = []
        self.sink = Sink(self.port, self.rows.append, host="127.0.0.1")
        orders, self._give = os.pipe()
        self._answers, answers = os.pipe()
        self._ends = orders, answers
        self.thread = threading.Thread(
            target=self.sink.serve, args=(orders, lambda line: os.write(answers, line))
        )
        self.thread.start()

    def command(self, do: str, **facts: Any) -> Any:
        os.write(self._give, json.dumps({"do": do, **facts}).encode() + b"\n")
        return json.loads(os.read(self._answers, 65536))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=3)

    def arrived(self, count: int) -> int:
        def all_there() -> int | NotYet:
            seen = self.command("state")["arrived"]
            return seen if seen >= count else NotYet(f"{seen} of {count}")

        return wait_for(all_there, state="lines to arrive", within=5, every=0.02)

    def end(self) -> None:
        os.close(self._give)
        self.thread.join(timeout=5)
        for each in (*self._ends, self._answers):
            os.close(each)


@pytest.fixture
def running() -> Iterator[Any]:
    made = Running()
    yield made
    made.end()
    assert not made.thread.is_alive()


def line(number: int) -> bytes:
    words = f"seq={number} t={time.monotonic():.6f} task=a.1 x"
    return json.dumps({"short_message": words}).encode()


def test_lines_of_tcp_and_udp_are_counted_together(running: Any) -> None:
    with running.connect() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.sendall(b"".join(line(number) + b"\0" for number in range(5)))
        udp.connect(("127.0.0.1", running.port))
        udp.send(gzip.compress(line(6)))
        udp.send(b'{"short_message":"of somebody else"}')
        running.arrived(6)
    [account] = running.command("accounts", sent={"a.1": 8}).values()
    assert (account["received"], account["gaps"]) == (6, [[5, 6], [7, 8]])
    assert running.command("tasks") == {"a.1": 6}
    assert running.command("state")["foreign"] == 1


def test_a_sink_that_refuses_is_refusing_and_comes_back(running: Any) -> None:
    with running.connect() as old:
        running.command("behave", mode="refuse")
        assert old.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        running.connect()
    running.command("behave", mode="serve")
    with running.connect() as tcp:
        tcp.sendall(line(0) + b"\0")
        running.arrived(1)


def test_a_sink_that_stalls_takes_connections_and_nothing_else(running: Any) -> None:
    running.command("behave", mode="stall")
    with running.connect() as tcp:
        tcp.sendall(line(0) + b"\0")
        time.sleep(0.1)
        assert running.command("state")["arrived"] == 0
        tcp.settimeout(0.2)
        with pytest.raises(TimeoutError):
            tcp.sendall(bytes(64 << 20))
        running.command("behave", mode="serve")
        running.arrived(1)


def test_a_slow_sink_reads_at_its_rate(running: Any) -> None:
    began = time.monotonic()
    running.command("behave", mode="slow", rate=1000)
    with running.connect() as tcp:
        tcp.sendall(b"".join(line(number) + b"\0" for number in range(100)))
        time.sleep(1.0)
        taken = running.command("state")["arrived"]
        # One second's worth may have been saved up.
        assert 0 < taken * (len(line(0)) + 1) < 1000 * (time.monotonic() - began + 1)
        running.command("behave", mode="serve")
        running.arrived(100)


def test_a_sink_that_resets_resets_the_old_and_the_new(running: Any) -> None:
    with running.connect() as old:
        running.command("behave", mode="reset")
        with pytest.raises(ConnectionResetError):
            old.recv(1)
    # the reset may come while the caller still takes himself to be connecting
    with pytest.raises(ConnectionResetError), running.connect() as new:
        new.recv(1)


def test_an_order_that_it_does_not_know_is_answered_by_an_error(running: Any) -> None:
    assert "not a known mode" in running.command("behave", mode="sulk")["error"]
    assert "not a known command" in running.command("dance")["error"]


def test_a_second_with_traffic_leaves_a_row() -> None:
    running = Running()
    with running.connect() as tcp:
        tcp.sendall(b"".join(line(number) + b"\0" for number in range(3)))
        running.arrived(3)
    running.end()
    assert sum(row["lines"] for row in running.rows) == 3
    assert running.rows[0]["tasks"]["a.1"] >= 1
    assert 0 <= running.rows[0]["oldest"] < 5
