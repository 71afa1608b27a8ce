"""The pytest plugin: collect scenarios, multiply them, run each as a trial, judge it, report.

A scenario is a test that uses the fixture ``trial`` or one that builds on it. Its outcome comes
from the trial's verdict, so a fault without evidence cannot pass, and a broken bound does not
keep the other measures from being taken.

A trial runs in this process (``trial_protocol``) or is sent into a guest (``host_protocol``).
Which of the two it is, is which of them is registered. In a guest only what the trial needs is
imported.

PYTEST_DONT_REWRITE: no assertion in here is a test's, so the plugin may be imported before pytest
registers it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from harness.errors import EXIT_USAGE, UsageError
from harness.guest.contract import REPORTS
from harness.guest.report_log import ReportLog, console_line
from harness.pytest_plugin import trial_protocol
from harness.pytest_plugin.collection import (
    pytest_collect_file,
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_generate_tests,
    refuse_debugger,
    refuse_hardware_without_guests,
    refuse_unknown_qemu,
)
from harness.pytest_plugin.fixtures import (
    api,
    checkpoint,
    containers,
    discovery,
    dockerd_logs,
    domains,
    faults,
    gossip,
    lab,
    leadership,
    load,
    measure,
    memory,
    other_engines,
    point,
    probes,
    reachability,
    services,
    swarm,
    tasks,
    trial,
)
from harness.pytest_plugin.foreign_plugins import block
from harness.pytest_plugin.options import Options, declare, read
from harness.pytest_plugin.probe_bundle import Probes
from harness.pytest_plugin.session import SESSION, OneFolder, Session
from harness.pytest_plugin.workers import pytest_xdist_auto_num_workers

#: Fixtures and hooks: pytest finds them by their names in this module. And the one type that
#: scenarios need for their fixtures and that no other room has.
__all__ = [
    "Probes",
    "api",
    "checkpoint",
    "containers",
    "discovery",
    "dockerd_logs",
    "domains",
    "faults",
    "gossip",
    "lab",
    "leadership",
    "load",
    "measure",
    "memory",
    "other_engines",
    "point",
    "probes",
    "pytest_collect_file",
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_generate_tests",
    "pytest_xdist_auto_num_workers",
    "reachability",
    "services",
    "swarm",
    "tasks",
    "trial",
]

MARKERS = (
    "swarm(managers=1, workers=0, spares=0, serving=None): the topology a scenario asks for, and "
    "the workload that serves when it begins",
    "upstream(*threads): the upstream issues it is about, like moby/moby#32841",
    "control: a swarm broken on purpose; it must break the expectations that name it",
    "known_bug(*threads, engines='<28.0', measures=()): engines known to fail, and by what",
    "without_oracle(oracle, reason=...): what is held against every trial but this, and why",
    "other_engines(*names): engines that it installs; `next` is the release after its own",
    "thorough: a case beyond the default set; it runs with --thorough",
    "deadline(seconds): how long a trial may take on its own clock (default: 900 s)",
    "needs(*features): what the kernel must have (netem, ip_vs, ...), else it is skipped",
)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the harness's options."""
    block(pluginmanager)
    declare(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register markers; refuse options that cannot be meant before anything is touched."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    try:
        options = read(config)
        refuse_debugger(config, options)
        refuse_unknown_qemu(options)
        refuse_hardware_without_guests(options)
        if options.into is not None:
            _register_in_guest(config, options, options.into)
        else:
            import_module(f"{__name__}.host").register(config, options)
    except UsageError as error:
        pytest.exit(str(error), returncode=EXIT_USAGE)


def _register_in_guest(config: pytest.Config, options: Options, into: Path) -> None:
    config.stash[SESSION] = Session(options, OneFolder(into), console_line)
    plugins = config.pluginmanager
    plugins.register(ReportLog(config, into.with_name(REPORTS)), "swarm-chaos-report-log")
    plugins.register(trial_protocol, "swarm-chaos-trial")


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Unknown is a status of its own: neither passed nor failed."""
    if report.failed and ("outcome", "unknown") in getattr(report, "user_properties", ()):
        return "unknown", "U", ("UNKNOWN", {"yellow": True})
    return None
