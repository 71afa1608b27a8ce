"""The server of the store: on this machine alone, nothing but runs and their files."""

from __future__ import annotations

import html
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import synthetic_runs
from click.testing import CliRunner

from harness.cli.serve import serve
from harness.errors import UsageError
from harness.report.live import IDLE_LIMIT, running_trials
from harness.report.serve import HOST, PageNotFoundError, Pages, Server, _Handler, server_of
from harness.results import RunWriter, read_run
from harness.trial import Trial


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store") / "reports"
    synthetic_runs.many_trials(root, 4)
    (root / "20261124T000000Z").mkdir()
    (root / "20261124T000000Z" / "run.json").write_text("{")
    (root.parent / "secret").write_text("secret")
    return root


@pytest.fixture(scope="module")
def server(reports: Path) -> Iterator[Server]:
    with server_of(reports, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ask(server: Server) -> Callable[..., tuple[int, str, http.client.HTTPMessage]]:
    def one(
        path: str, *, method: str = "GET", host: str | None = None, cookie: str | None = None
    ) -> tuple[int, str, http.client.HTTPMessage]:
        port = server.server_port
        connection = http.client.HTTPConnection(HOST, port, timeout=20)
        cookie = f"a=b; swarm-chaos-{port}={server.token}" if cookie is None else cookie
        headers = {"Host": host or f"{HOST}:{port}", "Cookie": cookie}
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body, answer.headers

    return one


RUN = "/runs/20261123T004500Z"
TRIAL = "trials/leader-killed-dockerd.28.5.2.3m2w.s1"


def test_the_first_page_lists_the_runs_and_what_cannot_be_read(
    ask: Callable[..., tuple[int, str, http.client.HTTPMessage]],
) -> None:
    status, body, _ = ask("/")
    assert status == 200
    assert "2 runs" in body
    assert f'href="{RUN[1:]}/index.html"' in body
    assert "unfinished or damaged" in body


def test_pages_assets_and_files_of_a_run(
    ask: Callable[..., tuple[int, str, http.client.HTTPMessage]],
) -> None:
    status, body, headers = ask(f"{RUN}/index.html")
    assert status == 200
    assert "All 4 trials are as expected" in body
    assert 'href="/"' in body
    status, body, headers = ask(f"{RUN}/pages/trial-leader-killed-dockerd.28.5.2.3m2w.s1.html")
    assert status == 200
    assert f'href="../{TRIAL}/journal.jsonl"' in body
    assert "connect-src 'self'" in html.unescape(body)
    status, body, headers = ask(f"{RUN}/{TRIAL}/journal.jsonl")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert body.startswith('{"t":')
    assert ask(f"{RUN}/pages/assets/report.js")[0] == 200
    assert ask(f"{RUN}/index.html", method="HEAD")[:2] == (200, "")


def test_folders_lead_to_their_index_and_chosen_runs_to_their_site(
    ask: Callable[..., tuple[int, str, http.client.HTTPMessage]],
) -> None:
    for path in (RUN, f"{RUN}/"):
        status, _, headers = ask(path)
        assert (status, headers["Location"]) == (303, f"{RUN}/index.html")
    status, _, headers = ask("/together?run=b&run=a%2F..")
    assert (status, headers["Location"]) == (303, "/runs/a%2F..+b/index.html")
    assert ask("/together")[2]["Location"] == "/"


@pytest.mark.parametrize("path", [
    "/nowhere", "/runs", "/runs/none/index.html", f"{RUN}/pages/none.html",
    f"{RUN}/trials/../../../secret", f"{RUN}/trials/%2e%2e/%2e%2e/%2e%2e/secret",
    f"{RUN}/trials/..%2f..%2f..%2fsecret", f"{RUN}/run.json", "/runs/../secret",
    "/runs/..+../index.html",
    f"{RUN}/{TRIAL}", f"{RUN}/pages/assets/../../run.json",
    "/runs/%00/index.html", "/assets/x", "http://[::1", "//[::1/?token=x",
])  # fmt: skip
def test_nothing_else_is_served(
    ask: Callable[..., tuple[int, str, http.client.HTTPMessage]], path: str
) -> None:
    status, body, _ = ask(path)
    assert status == 404, body
    assert "secret" not in body


def test_a_link_out_of_a_run_is_not_followed(tmp_path: Path, reports: Path) -> None:
    run = tmp_path / "run"
    (run / "trials").mkdir(parents=True)
    (run / "trials" / "out").symlink_to(reports.parent / "secret")
    with pytest.raises(PageNotFoundError):
        Pages(tmp_path).answer("/runs/run/trials/out")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost"])
def test_other_names_for_this_server_are_refused(
    ask: Callable[..., tuple[int, str, http.client.HTTPMessage]], host: str
) -> None:
    assert ask("/", host=host)[0] == 403


@pytest.mark.parametrize("path", ["/", f"{RUN}/index.html", f"{RUN}/{TRIAL}/journal.jsonl"])
@pytest.mark.parametrize("token", ["", "wrong", "é"])
def test_other_users_of_this_machine_are_refused(
    ask: Callable[..., tuple[int, str, http.client.HTTPMessage]],
    server: Server,
    path: str,
    token: str,
) -> None:
    port = server.server_port
    cookie = f"swarm-chaos-{port}={token}".encode().decode("latin-1")
    assert ask(path, cookie=cookie)[0] == 403
    assert ask(f"{path}?token={quote(token)}", cookie="")[0] == 403


def test_the_printed_address_leaves_a_cookie_and_no_token_in_the_history(
    ask: Callable[..., tuple[int, str, http.client.HTTPMessage]], server: Server
) -> None:
    path = server.address.partition(str(server.server_port))[2]
    status, _, headers = ask(path, cookie="")
    assert (status, headers["Location"]) == (303, "/")
    given, *attributes = headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict"} <= set(attributes)
    assert ask("/", cookie=given)[0] == 200


def test_browsers_leave_the_port_out_where_it_is_80(reports: Path) -> None:
    handler = type("Handler", (_Handler,), {"pages": Pages(reports)})
    served = Server(0, handler)
    with served:
        served.server_port = 80
        for host, status in (("localhost", 200), ("evil.example", 403), ("127.0.0.1", 200)):
            ours, theirs = socket.socketpair()
            head = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
            ours.sendall(f"{head}Cookie: swarm-chaos-80={served.token}\r\n\r\n".encode())
            handler(theirs, ("local", 0), served)
            theirs.close()
            assert int(ours.recv(99).split()[1]) == status
            ours.close()


def test_it_listens_on_this_machine_alone(reports: Path) -> None:
    with server_of(reports, 0) as server:
        assert server.server_address[0] == "127.0.0.1"
        with pytest.raises(UsageError, match="cannot listen on port"):
            server_of(reports, server.server_port)


def test_a_store_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(serve, ["--reports", str(tmp_path / "none")])
    assert isinstance(done.exception, UsageError)


def test_a_running_run_is_shown_live_and_not_as_damaged(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, command=[], harness="0")
    given = synthetic_runs.inputs()
    trial = Trial(writer.trial_folder(given), given)
    browser = Pages(tmp_path)
    page = f"/runs/{writer.folder.name}/pages/live-part.html"

    def text_of(path: str) -> str:
        body = browser.answer(path).body
        assert isinstance(body, bytes)
        return body.decode()

    index = text_of("/")
    assert "<td>running</td>" in index
    assert "damaged" not in index
    assert "1 trial is running" in text_of(page)
    trial.journal.write("note", text="something new")
    assert "something new" in text_of(page)
    run = read_run(writer.folder)
    [going] = running_trials(run)
    assert going.trial.record.inputs == given
    assert running_trials(run, now=trial.folder.stat().st_mtime + IDLE_LIMIT + 60) == ()
    trial.finish(None, title="done")
    assert "No trial is running" in text_of(page)
    assert running_trials(read_run(writer.folder)) == ()
