"""``swarm-chaos serve``: runs in a browser, on this machine only.

::

    /                              all runs
    /runs/<id>/…                   a run's pages, and its files
    /runs/<id>/pages/live.html     the running trials
    /runs/<id>+<id>/…              several runs together

Pages are rendered on request, from the folders as they are then. Who asks must have the token of
the address that was printed: in the query once, which leaves a cookie. Other users of the machine
can connect to a port of the loopback address, too.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

from harness.errors import HarnessError, UsageError
from harness.report.assets import LIVE, SCRIPT, STYLE, library, library_name, text_of
from harness.report.jinja_env import jinja_env
from harness.report.live import running_trials
from harness.report.page_names import INDEX, PAGES
from harness.report.pages.live import live_page, live_part
from harness.report.pages.page_frame import PageFrame
from harness.report.run_index import run_index
from harness.report.site import Site
from harness.report.site_model import read_runs
from harness.results import read_run

HOST = "127.0.0.1"
_HTML = "text/html; charset=utf-8"
_PLAIN = "text/plain; charset=utf-8"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_LIVE, _LIVE_PART = "live.html", "live-part.html"
_FILES = ("trials",)
_NO_TOKEN = "open the address that `swarm-chaos serve` has printed: it has a token\n"
_CHUNK = 1 << 16


class PageNotFoundError(Exception):
    """There is no such page."""


class Answer:
    """What is sent: the bytes or a file, and their type."""

    def __init__(self, body: str | bytes | Path, kind: str = _HTML, *, keep: bool = False) -> None:
        self.body = body.encode() if isinstance(body, str) else body
        self.kind = kind
        self.keep = keep


class Pages:
    """Answers requests by path; ``reports`` contains the runs."""

    def __init__(self, reports: Path) -> None:
        self.reports = reports.resolve()

    def answer(self, target: str) -> Answer:
        """Return the answer to a GET of ``target``; a path within is a redirection's ``Location``.

        Raises :class:`PageNotFoundError`.
        """
        try:
            path = urlsplit(target).path
        except ValueError:  # an address in it that is none, like http://[::1
            raise PageNotFoundError from None
        parts = [unquote(part) for part in path.split("/")[1:]]
        if any(part in {".", ".."} or "/" in part or "\0" in part for part in parts):
            raise PageNotFoundError
        match parts:
            case [""]:
                return self._run_list()
            case ["favicon.ico"]:
                return Answer(b"", "image/x-icon", keep=True)  # requested besides plain files
            case ["assets", name]:
                return _asset(name)
            case ["runs", ids, "pages", "assets", name] if ids:
                return _asset(name)
            case ["runs", ids, *rest] if ids and rest:
                return self._page(ids.split("+"), "/".join(rest))
        raise PageNotFoundError

    def redirection(self, target: str) -> str | None:
        """Return where to go from the form that chooses runs, and from a folder (its index)."""
        try:
            split = urlsplit(target)
        except ValueError:
            return None
        if split.path == "/together":
            chosen = parse_qs(split.query).get("run", [])
            # The list begins with the newest run; the baseline is the oldest.
            ids = "+".join(quote(run, safe="") for run in sorted(chosen))
            return f"/runs/{ids}/{INDEX}" if ids else "/"
        parts = split.path.split("/")
        if len(parts) in {3, 4} and parts[1] == "runs" and parts[2] and not "".join(parts[3:]):
            return f"/runs/{parts[2]}/{INDEX}"
        return None

    def _run_list(self) -> Answer:
        page = (
            jinja_env()
            .get_template("runs.html.j2")
            .render(
                runs=run_index(self.reports, now=time.time()),
                reports=self.reports.name,
                policy=PageFrame(top=True, served=True).policy,
                style=STYLE,
                script=SCRIPT,
            )
        )
        return Answer(page)

    def _page(self, ids: Sequence[str], path: str) -> Answer:
        folders = [self._folder(run) for run in ids]
        if len(folders) == 1 and path.partition("/")[0] in _FILES:
            return _file(folders[0], path)
        single = len(folders) == 1
        if single and path in {f"{PAGES}/{_LIVE}", f"{PAGES}/{_LIVE_PART}"}:
            return self._live(folders[0], page=path.endswith(_LIVE))
        runs, unreadable = read_runs(folders)
        live = single and bool(running_trials(runs[0]))
        site = Site(
            runs,
            unreadable=unreadable,
            folder=folders[0] if single else None,
            served=True,
            live=live,
            run_list="/",
        )
        render = site.pages().get(path)
        if render is None:
            raise PageNotFoundError
        return Answer(render())

    def _live(self, folder: Path, *, page: bool) -> Answer:
        run = read_run(folder)
        running = running_trials(run)
        model = Site([run], folder=folder).model
        if not page:
            return Answer(live_part(model, running))
        several = len(model.engines) > 1
        frame = PageFrame(top=False, comparison=several, served=True, live=True, run_list="/")
        return Answer(live_page(model, running, frame))

    def _folder(self, run: str) -> Path:
        folder = self.reports / run
        if not run or run.startswith(".") or Path(run).name != run or not folder.is_dir():
            raise PageNotFoundError
        return folder


def _asset(name: str) -> Answer:
    if name in {STYLE, SCRIPT, LIVE}:
        return Answer(text_of(name), _TYPES[Path(name).suffix])
    if name == library_name():
        return Answer(library(), _TYPES[".js"], keep=True)
    raise PageNotFoundError


def _file(run: Path, path: str) -> Answer:
    """A file of a run, as text: whatever it holds, the browser is not to run it."""
    found = (run / path).resolve()
    if not found.is_relative_to(run.resolve()) or not found.is_file():
        raise PageNotFoundError
    return Answer(found, _PLAIN)


class _Handler(BaseHTTPRequestHandler):
    pages: ClassVar[Pages]
    server_version = "swarm-chaos"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """A page."""
        self._handle(body=True)

    def do_HEAD(self) -> None:
        """Only what is known about it."""
        self._handle(body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing of requests that went well."""

    def _handle(self, *, body: bool) -> None:
        # A page elsewhere could have its own name lead here: only ours are answered.
        assert isinstance(self.server, Server)
        port = self.server.server_port
        ours = {f"{HOST}:{port}", f"localhost:{port}", *((HOST, "localhost") if port == 80 else ())}
        if self.headers.get_all("Host", []) not in [[name] for name in ours]:
            self._send(HTTPStatus.FORBIDDEN, Answer("this host name is not served here\n", _PLAIN))
            return
        if (given := self._token_in_query()) and self.server.knows(given):
            cookie = f"{self._cookie}={given}; Path=/; HttpOnly; SameSite=Strict"
            path = urlsplit(self.path).path
            self._send(HTTPStatus.SEE_OTHER, Answer("", _PLAIN), location=path, cookie=cookie)
            return
        if not self.server.knows(self._token_in_cookie()):
            self._send(HTTPStatus.FORBIDDEN, Answer(_NO_TOKEN, _PLAIN), body=body)
            return
        if (location := self.pages.redirection(self.path)) is not None:
            self._send(HTTPStatus.SEE_OTHER, Answer("", _PLAIN), location=location)
            return
        try:
            answer, status = self.pages.answer(self.path), HTTPStatus.OK
        except PageNotFoundError:
            answer, status = Answer("no such page\n", _PLAIN), HTTPStatus.NOT_FOUND
        except (HarnessError, OSError) as error:
            answer, status = Answer(f"{error}\n", _PLAIN), HTTPStatus.INTERNAL_SERVER_ERROR
        try:
            self._send(status, answer, body=body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the browser went on to another page

    @property
    def _cookie(self) -> str:
        # Cookies are a host's, whatever the port: two servers must not overwrite each other's.
        assert isinstance(self.server, Server)
        return f"swarm-chaos-{self.server.server_port}"

    def _token_in_query(self) -> str:
        try:
            split = urlsplit(self.path)
            return parse_qs(split.query).get("token", [""])[0] if split.path[:2] != "//" else ""
        except ValueError:
            return ""

    def _token_in_cookie(self) -> str:
        for word in self.headers.get("Cookie", "").split(";"):
            name, _, value = word.strip().partition("=")
            if name == self._cookie:
                return value
        return ""

    def _send(
        self,
        status: HTTPStatus,
        answer: Answer,
        *,
        location: str = "",
        cookie: str = "",
        body: bool = True,
    ) -> None:
        size = answer.body.stat().st_size if isinstance(answer.body, Path) else len(answer.body)
        self.send_response(status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(size))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "max-age=31536000" if answer.keep else "no-store")
        if location:
            self.send_header("Location", location)
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        if not body:
            return
        if isinstance(answer.body, bytes):
            self.wfile.write(answer.body)
            return
        # A log that is being written may grow meanwhile: no more than was announced.
        left = size
        with answer.body.open("rb") as file:
            while left and (chunk := file.read(min(_CHUNK, left))):
                self.wfile.write(chunk)
                left -= len(chunk)


class Server(ThreadingHTTPServer):
    """The server, with a token that is its own."""

    daemon_threads = True

    def __init__(self, port: int, handler: type[_Handler]) -> None:
        super().__init__((HOST, port), handler)
        self.token = secrets.token_urlsafe(24)

    @property
    def address(self) -> str:
        """The address to open in a browser, with the token."""
        return f"http://{HOST}:{self.server_port}/?token={self.token}"

    def knows(self, token: str) -> bool:
        """Return whether a token is this server's."""
        return hmac.compare_digest(token.encode(), self.token.encode())


def server_of(reports: Path, port: int) -> Server:
    """Return a server of the runs under ``reports`` on 127.0.0.1; ``port`` 0 picks a free one.

    Raises :class:`~harness.errors.UsageError` if the folder does not exist or the port is not
    available.
    """
    if not reports.is_dir():
        raise UsageError(
            f"there is no folder {reports}",
            hint="make a run with `pytest scenarios/`, or name another folder with --reports",
        )
    handler = type("Handler", (_Handler,), {"pages": Pages(reports)})
    try:
        return Server(port, handler)
    except OSError as error:
        raise UsageError(
            f"cannot listen on port {port} of {HOST}: {error.strerror}",
            hint="name another with --port, or 0 for any",
        ) from error
