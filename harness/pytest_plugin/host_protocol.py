"""On the host of the microVM lab: a scenario is sent into a guest, whose reports are its own."""

from __future__ import annotations

from functools import cached_property

import pytest

from harness.errors import HarnessError
from harness.pytest_plugin.guest_runner import (
    Assignment,
    Guests,
    Reuse,
    closing_report,
    run_in_guest,
    unknown_report,
)
from harness.pytest_plugin.markers import is_scenario
from harness.pytest_plugin.run_session import RunSession, worker_input
from harness.pytest_plugin.session import SESSION, Session
from harness.pytest_plugin.trial_request import TrialRequest
from harness.snapshots.kept_results import KeptResults
from harness.vm.checkpoint import RunLock, rest_after_run


class HostProtocol:
    """The plugin that sends a session's scenarios into guests."""

    def __init__(self, config: pytest.Config, runs: RunSession) -> None:
        self._config = config
        self._runs = runs

    @property
    def _session(self) -> Session:
        return self._config.stash[SESSION]

    @cached_property
    def _guests(self) -> Guests:
        session, asked = self._session, self._session.options
        return Guests(
            session.cache,
            session.progress.say,
            self._config.rootpath,
            asked.kernel,
            asked.clock,
            asked.cpus,
            asked.memory,
            Reuse(KeptResults(session.cache), asked.reuse, asked.audit),
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> object:
        """Run a scenario in a guest; anything else, and what is skipped, is pytest's."""
        if not is_scenario(item) or item.get_closest_marker("skip"):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self._run(item)
        # Nothing was set up for it here, but what the item before it has left to it must go.
        call = pytest.CallInfo.from_call(
            lambda: item.session._setupstate.teardown_exact(nextitem),
            when="teardown",
            reraise=(KeyboardInterrupt, pytest.exit.Exception),
        )
        if call.excinfo is not None:
            item.ihook.pytest_runtest_logreport(
                report=item.ihook.pytest_runtest_makereport(item=item, call=call)
            )
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @cached_property
    def _run_lock(self) -> RunLock:
        return RunLock(self._session.cache)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Bring checkpoints to rest, once for all workers and not while another run is at work."""
        self._run_lock.release()
        begun = self._runs.run is not None and not worker_input(self._config)
        if begun and exitstatus != pytest.ExitCode.INTERRUPTED:
            rest_after_run(self._session.cache)

    def _run(self, item: pytest.Item) -> None:
        options = self._session.options
        assignment = Assignment(
            item,
            TrialRequest.of(item, options),
            topology_given=bool(options.topology or options.role_engines),
        )
        run = self._runs.begin()
        self._run_lock.acquire()
        last: pytest.TestReport | None = None
        try:
            for last in run_in_guest(assignment, self._guests, run, self._session.progress.say):
                item.ihook.pytest_runtest_logreport(report=last)
        except HarnessError as error:
            last = unknown_report(item, "", str(error))
            item.ihook.pytest_runtest_logreport(report=last)
        if last is not None and last.when != "teardown":
            item.ihook.pytest_runtest_logreport(report=closing_report(item, last))
