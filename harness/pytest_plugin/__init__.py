"""The pytest plugin: collect scenarios, multiply them, run each as a trial, judge it, report.

A scenario is a test that uses the fixture ``trial`` or one that stands on it. Its outcome comes
from the trial's verdict, so a fault without evidence cannot pass, and a broken bound does not
keep the other measures from being taken.
"""

from __future__ import annotations

import pytest

from harness.errors import EXIT_USAGE, UsageError
from harness.guest.report_log import REPORTS, ReportLog
from harness.pytest_plugin.collection import (
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_generate_tests,
    refuse_cpus_without_guests,
    refuse_debugger,
    refuse_unknown_qemu,
)
from harness.pytest_plugin.fixtures import (
    api,
    containers,
    discovery,
    dockerd_logs,
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
from harness.pytest_plugin.options import declare, read
from harness.pytest_plugin.session import (
    SESSION,
    Session,
    pytest_configure_node,
    pytest_report_teststatus,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_xdist_auto_num_workers,
)
from harness.pytest_plugin.trial_protocol import (
    pytest_pyfunc_call,
    pytest_runtest_makereport,
    pytest_runtest_protocol,
    pytest_runtest_setup,
)

#: Fixtures and hooks: pytest finds them by their names in this module.
__all__ = [
    "api",
    "containers",
    "discovery",
    "dockerd_logs",
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
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_configure_node",
    "pytest_generate_tests",
    "pytest_pyfunc_call",
    "pytest_report_teststatus",
    "pytest_runtest_makereport",
    "pytest_runtest_protocol",
    "pytest_runtest_setup",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_xdist_auto_num_workers",
    "reachability",
    "services",
    "swarm",
    "tasks",
    "trial",
]

MARKERS = (
    "swarm(managers=1, workers=0, spares=0): the topology a scenario asks for",
    "upstream(*threads): the upstream issues it is about, like moby/moby#32841",
    "control: a swarm broken on purpose; it must break the expectations that name it",
    "known_bug(*threads, engines='<28.0', measures=()): engines known to fail, and by what",
    "other_engines(*names): engines that it installs; `next` is the release after its own",
    "thorough: a case beyond the default set; it runs with --thorough",
    "deadline(seconds): how long a trial may take on its own clock (default: 900 s)",
    "needs(*features): what the kernel must have (netem, ip_vs, ...), else it is skipped",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the harness's options."""
    declare(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register markers; refuse options that cannot be meant before anything is touched."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    try:
        options = read(config)
        refuse_debugger(config, options)
        refuse_unknown_qemu(options)
        refuse_cpus_without_guests(options)
    except UsageError as error:
        pytest.exit(str(error), returncode=EXIT_USAGE)
    config.stash[SESSION] = Session(config, options)
    config.pluginmanager.register(config.stash[SESSION], "swarm-chaos-session")
    if options.into is not None:
        log = ReportLog(config, options.into.with_name(REPORTS))
        config.pluginmanager.register(log, "swarm-chaos-report-log")
