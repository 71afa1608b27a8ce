"""What all scenarios of a pytest session share, and how the session ends."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.junitxml import LogXML

from harness import __version__
from harness.errors import EXIT_INTERRUPTED, EXIT_TROUBLE
from harness.guest.report_log import console_line
from harness.images import Cache
from harness.pytest_plugin.fixtures import EngineStore
from harness.pytest_plugin.markers import chosen_lab
from harness.pytest_plugin.options import Options
from harness.pytest_plugin.terminal import Progress, terminal_line
from harness.results import RunWriter
from harness.trial import TrialInputs

if TYPE_CHECKING:
    from harness.pytest_plugin.guest_runner import Guests

SESSION = pytest.StashKey["Session"]()
SHARED_RUN = "swarm_chaos_run"
JUNIT = "swarm-chaos-junit"


class Session:
    """What all scenarios of a pytest session share."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self.options = options
        inside = options.into is not None
        self.progress = Progress(console_line if inside else terminal_line(config))
        self._cache = Cache()
        self.engine_store = EngineStore(self._cache, self.progress.say)
        self.run: RunWriter | None = None
        self.interrupted = False
        self._config = config

    @cached_property
    def guests(self) -> Guests:
        """What this session's guests share. The host's matter: in a guest importing it is time."""
        from harness.pytest_plugin.guest_runner import Guests

        asked = self.options
        return Guests(
            self._cache,
            self.progress.say,
            self._config.rootpath,
            asked.kernel,
            asked.clock,
            asked.cpus,
        )

    def new_folder(self, inputs: TrialInputs) -> Path:
        """A folder for a trial: in this session's run, which begins with its first trial."""
        if self.options.into is not None:
            return self.options.into
        return self.begin().trial_folder(inputs)

    def begin(self) -> RunWriter:
        """The session's run, begun if it is not yet."""
        if self.run is None:
            shared = worker_input(self._config).get(SHARED_RUN)
            if shared is not None:
                self.run = RunWriter.join(Path(shared))
                return self.run
            self.run = RunWriter.create(
                self.options.reports,
                command=["pytest", *map(str, self._config.invocation_params.args)],
                harness=__version__,
            )
            write_junit(self._config, self.run.folder / "junit.xml")
        return self.run

    def end(self) -> None:
        """Write the run's page; a run that has come to no trial is taken back.

        (pytest-xdist wants to know of a run before it is known whether there are scenarios.)
        """
        if self.run is None or SHARED_RUN in worker_input(self._config):
            return
        if self.run.record.trials:
            self.progress.page(self.run.folder)
            return
        self._config.pluginmanager.unregister(name=JUNIT)
        self.run.discard()
        self.run = None

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Remember that it was the person at the keyboard who ended it."""
        self.interrupted = excinfo.errisinstance(KeyboardInterrupt)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """List in the run what a worker of pytest-xdist has made for it."""
        for name, value in report.user_properties:
            if name == "trial" and self.run is not None:
                self.run.add(str(value))


def worker_input(config: pytest.Config) -> dict[str, Any]:
    """What the controller has told this process, if it is a worker of pytest-xdist."""
    told: dict[str, Any] = getattr(config, "workerinput", {})
    return told


def write_junit(config: pytest.Config, path: Path) -> None:
    """Have pytest write its JUnit XML beside the run's page, whatever else was asked for."""
    junit = LogXML(str(path), None, suite_name="swarm-chaos")
    junit.pytest_sessionstart()
    config.pluginmanager.register(junit, JUNIT)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each worker of pytest-xdist the run that all of them write to."""
    node.workerinput[SHARED_RUN] = str(node.config.stash[SESSION].begin().folder)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """``-n auto``: as many guests as the pool has CPUs for; nodes on this kernel share it."""
    session = config.stash.get(SESSION, None)
    if session is None or not any("scenarios" in str(arg) for arg in config.args):
        return None
    return session.guests.pool().slots if chosen_lab(session.options) == "microvm" else 1


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Unknown is a status of its own: neither passed nor failed."""
    if report.failed and ("outcome", "unknown") in getattr(report, "user_properties", ()):
        return "unknown", "U", ("UNKNOWN", {"yellow": True})
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was measured, and where the page is."""
    session = terminalreporter.config.stash.get(SESSION, None)
    for report in terminalreporter.getreports("unknown"):
        terminalreporter.write_line(f"UNKNOWN {report.nodeid}: {report.longrepr}", yellow=True)
    if session is not None and session.run is not None:
        session.progress.summary(session.run.folder, terminalreporter)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the page, and tell "failed" from "unknown" by the exit code."""
    ours = session.config.stash.get(SESSION, None)
    if ours is None:
        return
    ours.end()
    if ours.interrupted:
        session.exitstatus = EXIT_INTERRUPTED
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or exitstatus not in (0, 1):
        return
    stats = reporter.stats
    if stats.get("unknown") and not stats.get("failed") and not stats.get("error"):
        session.exitstatus = EXIT_TROUBLE
