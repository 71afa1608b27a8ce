"""The programs in the workload images, run here instead of in a container."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.images.workload_programs import balancer, resolver
from harness.images.workload_programs.app import App
from harness.images.workload_programs.httpd import Request, Response, Server, unquote
from harness.images.workload_programs.logwriter import LogWriter


class Served:
    def __init__(self, handler: Callable[..., Any]) -> None:
        self.server = Server(0, handler)
        self.server.start()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)


@pytest.fixture
def serve() -> Iterator[Callable[..., Any]]:
    made = []

    def start(handler: Callable[..., Any]) -> Any:
        made.append(Served(handler))
        return made[-1]

    yield start
    for each in made:
        each.server.stop(0.1)


@pytest.fixture
def ask(
    serve: Callable[..., Any],
) -> Iterator[Callable[..., tuple[int, http.client.HTTPMessage, bytes]]]:
    app = App({"TASK_NAME": "web.1.x", "NODE_NAME": "w1", "SERVICE_NAME": "web"})
    connection = serve(app.handle).connect()

    def once(
        method: str, path: str, body: bytes | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    yield once
    connection.close()


def test_the_app_says_who_answered_on_a_kept_connection(
    ask: Callable[..., tuple[int, http.client.HTTPMessage, bytes]],
) -> None:
    for served in (1, 2, 3):
        status, headers, body = ask("GET", "/")
        assert status == 200
        assert (headers["X-Task"], headers["X-Node"]) == ("web.1.x", "w1")
        told = json.loads(body)
        assert (told["task"], told["node"], told["service"]) == ("web.1.x", "w1", "web")
        assert told["served"] == served


def test_a_request_may_ask_for_a_status_a_size_and_a_delay(
    ask: Callable[..., tuple[int, http.client.HTTPMessage, bytes]],
) -> None:
    assert ask("GET", "/?status=503")[0] == 503
    assert ask("GET", "/?bytes=5000")[2] == b"x" * 5000
    assert ask("HEAD", "/?bytes=10")[2] == b""
    began = time.monotonic()
    assert ask("GET", "/?delay=0.2")[0] == 200
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(
    "path", ["/?delay=x", "/?delay=-1", "/?delay=nan", "/?status=99", "/?status=700", "/?bytes=-3"]
)
def test_a_request_without_sense_is_a_400_and_the_app_goes_on(
    ask: Callable[..., tuple[int, http.client.HTTPMessage, bytes]], path: str
) -> None:
    assert ask("GET", path)[0] == 400
    assert ask("GET", "/")[0] == 200


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0])
def test_the_failing_share_is_exact_and_evenly_spread(share: float) -> None:
    app = App({})
    app.handle(Request("POST", "/control", {}, json.dumps({"fail_share": share}).encode()))
    codes = [app.handle(Request("GET", "/", {}, b"")).status for _ in range(300)]
    assert codes.count(503) == pytest.approx(300 * share, abs=1)
    for end in range(1, 300):
        assert abs(codes[:end].count(503) - end * share) <= 1


def test_control_changes_what_is_named_and_tells_it(
    ask: Callable[..., tuple[int, http.client.HTTPMessage, bytes]],
) -> None:
    assert ask("GET", "/healthz")[0] == 200
    assert ask("POST", "/control", b'{"healthy": false}')[0] == 200
    assert ask("GET", "/healthz")[0] == 503
    ask("POST", "/control", b'{"fail_share": 1}')
    told = json.loads(ask("GET", "/control")[2])
    assert (told["fail_share"], told["healthy"], told["delay"]) == (1, False, 0)
    assert ask("GET", "/")[0] == 503


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"fail_rate": 1}', b'{"fail_share": 2}', b'{"delay": -1}', b'{"healthy": 1}',
     b'{"delay": null}', b'{"fail_share": "x"}'],
)  # fmt: skip
def test_control_refuses_what_it_cannot_do_and_changes_nothing(
    ask: Callable[..., tuple[int, http.client.HTTPMessage, bytes]], body: bytes
) -> None:
    assert ask("POST", "/control", body)[0] == 400
    told = json.loads(ask("GET", "/control")[2])
    assert (told["fail_share"], told["delay"], told["healthy"]) == (0, 0, True)


def test_a_stop_finishes_what_is_being_answered_and_refuses_the_rest(
    serve: Callable[..., Any],
) -> None:
    entered = threading.Event()

    def slow(_request: Request) -> Response:
        entered.set()
        time.sleep(0.3)
        return Response(200, b"done")

    served = serve(slow)
    busy, idle = served.connect(), served.connect()
    idle.connect()
    busy.request("GET", "/")
    assert entered.wait(5)
    began = time.monotonic()
    assert served.server.stop(60) is True
    assert time.monotonic() - began < 30, "it has not waited for one that asks nothing"
    answer = busy.getresponse()
    assert (answer.read(), answer.headers["Connection"]) == (b"done", "close")
    with pytest.raises(OSError, match="refused"):
        served.connect().connect()
    busy.close()
    idle.close()


def test_requests_sent_together_are_answered_in_order(serve: Callable[..., Any]) -> None:
    served = serve(lambda request: Response(200, request.path.encode()))
    with socket.create_connection(("127.0.0.1", served.server.port), timeout=5) as raw:
        raw.sendall(
            b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyz"
            b"GET /b HTTP/1.1\r\nConnection: close\r\n\r\n"
        )
        received = b""
        while data := raw.recv(4096):
            received += data
    assert received.index(b"\r\n\r\n/a") < received.index(b"\r\n\r\n/b")


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\r\n\r\n", b"GET\r\n\r\n", b"GET / SPDY/3\r\n\r\n"]
)
def test_noise_is_refused_and_the_server_goes_on(serve: Callable[..., Any], noise: bytes) -> None:
    served = serve(lambda _request: Response(200, b"ok"))
    with socket.create_connection(("127.0.0.1", served.server.port), timeout=5) as raw:
        raw.sendall(noise)
        assert b" 400 " in raw.recv(4096)
    connection = served.connect()
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"ok"
    connection.close()


@given(st.text())
def test_percent_encoding_is_undone(text: str) -> None:
    assert unquote(urllib.parse.quote_plus(text)) == text


@given(st.text(alphabet="%0aZé+ "))
def test_percent_signs_that_encode_nothing_do_no_harm(text: str) -> None:
    assert isinstance(unquote(text), str)


names = st.lists(
    st.text(alphabet="abcxyz019-_", min_size=1, max_size=63), min_size=1, max_size=4
).map(".".join)
addresses = st.lists(st.ip_addresses(v=4).map(str), max_size=6)


def answer_to(query: bytes, found: Sequence[str], ttl: int, rcode: int = 0) -> bytes:
    head = query[:2] + struct.pack("!HHHHH", 0x8180 | rcode, 1, len(found), 0, 0)
    records = [
        b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, ttl + at, 4) + socket.inet_aton(address)
        for at, address in enumerate(found)
    ]
    return head + query[12:] + b"".join(records)


@given(names, addresses, st.integers(0, 10**6), st.integers(0, 15))
def test_an_answer_is_read_as_it_was_written(
    name: str, found: Sequence[str], ttl: int, rcode: int
) -> None:
    query = resolver.encode_query(name, 77)
    expected = (rcode, found, ttl if found else None)
    assert resolver.decode_answer(answer_to(query, found, ttl, rcode)) == expected


@given(names, st.lists(st.ip_addresses(v=4).map(str), min_size=1, max_size=3), st.data())
def test_a_cut_answer_is_refused(name: str, found: Sequence[str], data: st.DataObject) -> None:
    whole = answer_to(resolver.encode_query(name, 1), found, 5)
    end = data.draw(st.integers(0, len(whole) - 11))
    with pytest.raises(ValueError, match="cut short"):
        resolver.decode_answer(whole[:end])


@given(st.binary(max_size=64))
def test_any_packet_is_read_or_refused(packet: bytes) -> None:
    try:
        _, found, _ = resolver.decode_answer(packet)
    except ValueError:
        return
    assert all(socket.inet_aton(address) for address in found)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, "grün"])
def test_names_that_dns_cannot_carry_are_refused(name: str) -> None:
    with pytest.raises(ValueError):
        resolver.encode_query(name, 1)


@pytest.fixture
def dns() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        yield server


def test_a_dns_server_is_asked_and_strays_are_passed_over(dns: socket.socket) -> None:
    def answer() -> None:
        query, peer = dns.recvfrom(512)
        dns.sendto(b"\0\0" + query[2:], peer)
        dns.sendto(answer_to(query, ["10.0.0.2", "10.0.0.1"], 600), peer)

    thread = threading.Thread(target=answer)
    thread.start()
    told = resolver.ask_dns("web", "127.0.0.1", port=dns.getsockname()[1], number=5)
    thread.join()
    assert told["addresses"] == ["10.0.0.2", "10.0.0.1"]
    assert (told["ttl"], told["rcode"], told["error"]) == (600, 0, None)


def test_a_silent_dns_server_is_an_error_in_time(
    dns: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "_QUERY_SECONDS", 0.2)
    told: Any = resolver.ask_dns("web", "127.0.0.1", port=dns.getsockname()[1])
    assert told["addresses"] == []
    assert "no answer within" in told["error"]
    assert told["seconds"] < 2


def test_name_servers_are_read_from_resolv_conf() -> None:
    text = (
        "# nameserver 9.9.9.9\nnameserver 127.0.0.11\nsearch x\nnameserver 10.0.0.1 \noptions a\n"
    )
    assert resolver.name_servers(text) == ["127.0.0.11", "10.0.0.1"]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_log_lines_are_numbered_sized_and_come_at_their_rate() -> None:
    lines: list[bytes] = []
    clock = Clock()
    writer = LogWriter(lines.append, task="t", rate=50, line_bytes=80, clock=clock)
    while clock.now < 110:
        clock.now += writer.pause
        writer.burst()
    assert len(lines) == pytest.approx(500, abs=3)
    assert {len(line) for line in lines} == {80}
    assert [int(line.split()[0].removeprefix(b"seq=")) for line in lines] == list(range(len(lines)))
    assert writer.stats()["skipped"] == 0


def test_a_stall_is_measured_while_it_lasts_and_after_and_not_made_up_for() -> None:
    clock, seen = Clock(), []

    def write(_line: bytes) -> None:
        if 102 < clock.now < 102.5:
            clock.now += 7.5
            seen.append(writer.stats())
            clock.now += 0.5

    writer = LogWriter(write, task="t", rate=100, line_bytes=50, clock=clock)
    while clock.now < 120:
        clock.now += writer.pause
        writer.burst()
    assert seen[0]["current_stall"] == pytest.approx(7.5)
    stats: Any = writer.stats()
    assert (stats["longest_stall"], stats["current_stall"]) == (pytest.approx(8.0), 0)
    assert stats["longest_stall_ended"] == pytest.approx(110, abs=0.2)
    assert stats["skipped"] == pytest.approx(800, abs=25)
    assert stats["written"] + stats["skipped"] == pytest.approx(2000, abs=15)


def test_slow_rates_keep_their_pace_too() -> None:
    lines: list[bytes] = []
    clock = Clock()
    writer = LogWriter(lines.append, task="t", rate=0.5, line_bytes=50, clock=clock)
    while clock.now < 120:
        clock.now += writer.pause
        writer.burst()
    assert len(lines) == pytest.approx(10, abs=1)


def test_the_balancers_configuration_holds_what_the_environment_says() -> None:
    with open(balancer.TEMPLATE) as file:  # noqa: PTH123
        template = file.read()
    text = balancer.render(template, {"UPSTREAM": "web", "NODE_NAME": "w2"}, "host")
    assert "set $upstream web:8000;" in text
    assert "listen 8080;" in text
    assert "resolver 127.0.0.11 valid=1s ipv6=off;" in text
    assert "X-Balancer w2 always" in text
    assert "@" not in text
    other = balancer.render(template, {"UPSTREAM": "web", "UPSTREAM_PORT": "81"}, "host")
    assert "set $upstream web:81;" in other
    assert "X-Balancer host always" in other


@pytest.mark.parametrize("upstream", [None, "", "web;", "a b", "x{", 'q"', "$host"])
def test_an_upstream_that_nginx_would_take_for_syntax_is_refused(upstream: str | None) -> None:
    environment = {} if upstream is None else {"UPSTREAM": upstream}
    with pytest.raises(ValueError, match="UPSTREAM"):
        balancer.render("@UPSTREAM@", environment, "host")
