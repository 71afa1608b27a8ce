"""The host's side of a session: the run that its trials are recorded in, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from _pytest.junitxml import LogXML

from harness import __version__
from harness.errors import EXIT_INTERRUPTED, EXIT_TROUBLE, EndedBySignal, TrialError
from harness.files import replacing
from harness.images import Say
from harness.pytest_plugin.markers import TrialPoint, upgradable
from harness.pytest_plugin.session import SESSION
from harness.pytest_plugin.terminal import (
    show_missing,
    skips_for_needs,
    summarize,
    terminal_line,
    write_page,
)
from harness.pytest_plugin.worker_progress import ProgressReceiver, sender
from harness.results import RunWriter
from harness.trial import TrialInputs

SHARED_RUN = "swarm_chaos_run"
PROGRESS = "swarm_chaos_progress"
JUNIT = "swarm-chaos-junit"


class RunSession:
    """The run of a session. It begins with its first trial.

    A plugin of pytest, and the folders of the session's trials.
    """

    def __init__(self, config: pytest.Config, reports: Path, say: Say) -> None:
        self.run: RunWriter | None = None
        self.interrupted = 0
        """The exit code of a session that was interrupted; 0 for any other."""
        self._config = config
        self._reports = reports
        self._say = say
        self._progress: ProgressReceiver | None = None

    def new(self, inputs: TrialInputs) -> Path:
        """Return a folder for a trial in the run."""
        return self.begin().trial_folder(inputs)

    def drop(self, folder: Path) -> None:
        """Strike a trial from the run."""
        if self.run is not None:
            self.run.drop(folder.name)

    def begin(self) -> RunWriter:
        """Return the session's run, begun if it is not yet."""
        if self.run is None:
            shared = worker_input(self._config).get(SHARED_RUN)
            if shared is not None:
                self.run = RunWriter.join(Path(shared))
                return self.run
            self.run = RunWriter.create(
                self._reports,
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
        self.run.add_begun()
        if self.run.record.trials:
            try:
                self.run.seal()
            except TrialError as error:
                self._say(str(error))
            write_page(self.run.folder, self._say)
            return
        self._config.pluginmanager.unregister(name=JUNIT)
        self.run.discard()
        self.run = None

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Remember that it was the person at the keyboard who ended it, or a signal."""
        if isinstance(excinfo.value, EndedBySignal):
            self.interrupted = excinfo.value.exit_code
        elif excinfo.errisinstance(KeyboardInterrupt):
            self.interrupted = EXIT_INTERRUPTED

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """List in the run what a worker of pytest-xdist has made for it."""
        for name, value in report.user_properties:
            if name == "trial" and self.run is not None:
                self.run.add(str(value))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell each worker of pytest-xdist the run to write to, and where progress is shown."""
        node.workerinput[SHARED_RUN] = str(self.begin().folder)
        if self._progress is None:
            self._progress = ProgressReceiver(self._say)
            self._config.add_cleanup(self._progress.close)
        node.workerinput[PROGRESS] = self._progress.address

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """Leave a scenario whose worker died unknown: nobody has judged it."""
        options = self._config.stash[SESSION].options
        engines = {name for each in options.engines for name in (each, upgradable(each))}
        points = [str(TrialPoint(engine, seed)) for engine in engines for seed in options.seeds]
        if any(point in crashitem.partition("[")[2] for point in points):
            report.user_properties += [("outcome", "unknown"), ("verdict", "unknown")]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was measured, and where the page is."""
        for report in terminalreporter.getreports("unknown"):
            terminalreporter.write_line(f"UNKNOWN {report.nodeid}: {report.longrepr}", yellow=True)
        show_missing(terminalreporter)
        if self.run is not None:
            summarize(self.run.folder, terminalreporter, self._say)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the page, and tell "failed" from "unknown" by the exit code."""
        self.end()
        if self.interrupted:
            session.exitstatus = self.interrupted
            return
        junit = session.config.pluginmanager.get_plugin(JUNIT)
        if isinstance(junit, RunJunit) and junit.trouble and exitstatus == 0:
            session.exitstatus = EXIT_TROUBLE
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or exitstatus not in (0, 1):
            return
        stats = reporter.stats
        strict = session.config.getoption("--strict-needs")
        trouble = bool(stats.get("unknown")) or (strict and bool(skips_for_needs(reporter)))
        if trouble and not stats.get("failed") and not stats.get("error"):
            session.exitstatus = EXIT_TROUBLE


def worker_input(config: pytest.Config) -> dict[str, Any]:
    """Return what the controller has sent to this process, if it is a worker of pytest-xdist."""
    given: dict[str, Any] = getattr(config, "workerinput", {})
    return given


def progress_line(config: pytest.Config) -> Say:
    """Return a function that shows a line on the session's terminal, from a worker as well."""
    given = worker_input(config)
    if PROGRESS in given:
        return sender(given[PROGRESS], given["workerid"])
    return terminal_line(config)


class RunJunit(LogXML):
    """pytest's JUnit XML of a run: written completely, or not at all and said."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), None, suite_name="swarm-chaos")
        self.trouble = ""

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        path = self.logfile
        try:
            with replacing(Path(path)) as draft:
                self.logfile = str(draft)
                super().pytest_sessionfinish()
        except OSError as error:
            self.trouble = (
                f"{path} could not be written: {error.strerror or error}\n"
                "  -> free some space there, or name another place with --reports"
            )
        finally:
            self.logfile = path

    def pytest_terminal_summary(
        self,
        terminalreporter: pytest.TerminalReporter,
        config: pytest.Config | None = None,  # noqa: ARG002 - the base has it
    ) -> None:
        """Say where it is, or why it is not."""
        if self.trouble:
            terminalreporter.write_line(self.trouble, red=True)
        else:
            terminalreporter.write_sep("-", f"generated xml file: {self.logfile}")


def write_junit(config: pytest.Config, path: Path) -> None:
    """Have pytest write its JUnit XML next to the run's page, whatever else was asked for."""
    junit = RunJunit(path)
    junit.pytest_sessionstart()
    config.pluginmanager.register(junit, JUNIT)
