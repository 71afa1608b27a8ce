"""A proxy that polls: what it asks between two looks, and how long nobody answered."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from bare_trials import bare_trial
from optionals import not_none

from harness.errors import SwarmError
from harness.load import PollingProxy
from harness.trial import Trial
from harness.wait import NotYet, wait_for


@pytest.fixture
def open_trial(tmp_path: Path) -> Iterator[Trial]:
    trial = bare_trial(tmp_path / "trial")
    yield trial
    trial.finish(None)
    assert trial.doubts == []


class Quiet(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Quiet) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def here(make: Callable[[], socket.socket]) -> socket.socket:
    return make()


class Web:
    """A deployment whose task has an address, or is not told."""

    def __init__(self, address: str | None) -> None:
        self.address = address
        self.polls = 0

    def tasks(self, _: str) -> list[Any]:
        self.polls += 1
        if self.address is None:
            raise SwarmError("no manager answers")
        return [SimpleNamespace(running=True, addresses=(f"{self.address}/24",))]


def asked(proxy: PollingProxy, number: int, *, ok: bool) -> None:
    def there() -> bool | NotYet:
        found = sum(each.ok == ok for each in proxy.requests)
        return found >= number or NotYet(f"{found} requests")

    wait_for(there, state=f"{number} requests", within=10.0, every=0.01)


def test_it_asks_what_it_knew_until_it_polls_again(port: int, open_trial: Trial) -> None:
    web: Any = Web("127.0.0.1")
    with PollingProxy(here, web, "app", port, open_trial, poll_every=0.5, every=0.02) as proxy:
        asked(proxy, 3, ok=True)
        web.address = "127.0.0.9"  # where nobody listens
        asked(proxy, 3, ok=False)
        web.address = "127.0.0.1"
        answered = sum(each.ok for each in proxy.requests)
        asked(proxy, answered + 3, ok=True)
    outage = not_none(proxy.longest_outage())
    assert outage.reached
    assert 0.04 <= outage.seconds < 5
    assert web.polls >= 3


def test_it_keeps_what_it_knows_while_no_manager_answers(port: int, open_trial: Trial) -> None:
    web: Any = Web("127.0.0.1")
    with PollingProxy(here, web, "app", port, open_trial, poll_every=0.1, every=0.02) as proxy:
        asked(proxy, 1, ok=True)
        web.address = None
        polls = web.polls
        wait_for(
            lambda: web.polls > polls + 1 or NotYet("not polled"),
            state="polls without an answer",
            within=10.0,
            every=0.01,
        )
        answered = sum(each.ok for each in proxy.requests)
        asked(proxy, answered + 2, ok=True)
    assert not_none(proxy.longest_outage()).seconds == 0


def test_who_asked_nothing_has_seen_nothing(open_trial: Trial) -> None:
    web: Any = Web(None)
    assert PollingProxy(here, web, "app", 9, open_trial).longest_outage() is None


def test_knowing_nobody_is_an_outage(open_trial: Trial) -> None:
    web: Any = Web(None)
    with PollingProxy(here, web, "app", 9, open_trial, every=0.02) as proxy:
        asked(proxy, 3, ok=False)
    assert not not_none(proxy.longest_outage()).reached
    assert {each.backend for each in proxy.requests} == {""}
