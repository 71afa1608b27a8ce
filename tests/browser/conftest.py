"""A real browser for the pages: Debian's chromium, driven by Playwright; skipped without it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import many_trials, nightly_runs, synthetic_run

from harness.report import write_report, write_site
from harness.report.serve import server_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def pytest_collection_modifyitems(items: Any) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)
            # Playwright's own pipes are closed when its process goes, and not before.
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))


@pytest.fixture(scope="session")
def chromium() -> Any:
    """The browser itself."""
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    playwright.expect.set_options(timeout=20_000)  # two cores may be busy with whole swarms
    sandbox = [] if os.geteuid() else ["--no-sandbox"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


def failure(request: Any) -> Iterator[str]:
    """What went wrong with a request, unless the page was left before it was over."""
    if request.failure != "net::ERR_ABORTED":
        yield f"failed: {request.url}: {request.failure}"


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open an address in a window of its own; at the end nothing may have gone wrong there."""
    contexts, log_problems = [], []

    def open_at(where: Any, **settings: Any) -> Any:
        settings.setdefault("viewport", {"width": 1280, "height": 900})
        context = chromium.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: log_problems.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: log_problems.append(f"error: {error}"))
        page.on("requestfailed", lambda request: log_problems.extend(failure(request)))
        address = str(where)
        page.goto(address if "://" in address else f"file://{address}")
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert log_problems == []


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all there is: passes, a failure, an unknown, a control."""
    folder = synthetic_run(tmp_path_factory.mktemp("reports"))
    write_report(folder)
    return folder


@pytest.fixture(scope="session")
def big_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a hundred trials."""
    folder = many_trials(tmp_path_factory.mktemp("big"), 100)
    write_report(folder)
    return folder


@pytest.fixture(scope="session")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of twelve nightly runs; from the eighth on failovers take longer."""
    root = tmp_path_factory.mktemp("nights")
    folders = nightly_runs(root, 12, trials=4, slower_from=6)
    into = root / "site"
    write_site(folders, into)
    return into


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serve the runs in a folder; gives the server's address, with its token."""
    with ExitStack() as stack:

        def start(reports: Any) -> str:
            server = stack.enter_context(server_of(reports, 0))
            loop = {"poll_interval": 0.05}
            thread = threading.Thread(target=server.serve_forever, kwargs=loop)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return server.address

        yield start
