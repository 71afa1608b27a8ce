"""The voting application of `examples/`: a vote's way through its programs, without a swarm."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.images import workload_programs
from harness.images.workload_programs import httpd

VOTING = Path(__file__).parents[2] / "examples" / "voting"
CATS = {"for": "cats"}
SERVICES = ("web", "queue", "worker", "database", "results")


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The modules as they are imported in their images, where ``workload`` has the server."""
    monkeypatch.syspath_prepend(str(VOTING))
    monkeypatch.setitem(sys.modules, "workload", workload_programs)
    monkeypatch.setitem(sys.modules, "workload.httpd", httpd)
    yield {name: importlib.import_module(f"voting.{name}") for name in (*SERVICES, "client")}
    for name in [each for each in sys.modules if each.partition(".")[0] == "voting"]:
        del sys.modules[name]


def asked(
    method: str, path: str, body: bytes = b"", query: dict[str, str] | None = None
) -> httpd.Request:
    return httpd.Request(method, path, query or {}, body)


def test_a_vote_is_cast_and_counted_once(
    programs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    votes = programs["database"].Votes(str(tmp_path / "votes.jsonl"))

    def ask(service: str, method: str, path: str, body: bytes = b"") -> bytes:
        if service == "queue":
            return bytes(programs["queue"].handle(asked(method, path, body)).body)
        votes.count(body)
        return b""

    monkeypatch.setattr(programs["web"], "ask", ask)
    monkeypatch.setattr(programs["worker"], "ask", ask)
    assert programs["web"].handle(asked("GET", "/vote", query=CATS)).status == 200
    programs["worker"].count(ask("queue", "POST", "/pop"))
    assert ask("queue", "POST", "/pop") == b""
    votes.close()
    with closing(programs["database"].Votes(str(tmp_path / "votes.jsonl"))) as reopened:
        assert reopened.counts == {"cats": 1}


def test_a_voter_is_told_when_the_queue_is_away(
    programs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> bytes:
        raise programs["client"].Unreachable("queue: refused")

    monkeypatch.setattr(programs["web"], "ask", away)
    monkeypatch.setattr(programs["results"], "ask", away)
    assert programs["web"].handle(asked("GET", "/vote", query=CATS)).status == 503
    assert programs["web"].handle(asked("GET", "/vote")).status == 404
    assert programs["results"].handle(asked("GET", "/")).status == 503


def test_a_service_is_asked_over_a_socket(
    programs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = httpd.Server(0, lambda request: httpd.as_json({"path": request.path}))
    server.start()
    try:
        monkeypatch.setattr(programs["client"], "PORT", server.port)
        said = programs["client"].ask("127.0.0.1", "POST", "/x", b"body")
        assert json.loads(said) == {"path": "/x"}
    finally:
        server.stop(1.0)
    with pytest.raises(programs["client"].Unreachable):
        programs["client"].ask("127.0.0.1", "GET", "/")
