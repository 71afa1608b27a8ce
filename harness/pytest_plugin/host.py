"""What the plugin registers on the host: a run for its trials, and where the trials run."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from harness.errors import signals_raised
from harness.faults.extensions import FIXTURES, extensions, fixtures_of
from harness.pytest_plugin import trial_protocol
from harness.pytest_plugin.host_protocol import HostProtocol
from harness.pytest_plugin.markers import chosen_lab
from harness.pytest_plugin.options import Options
from harness.pytest_plugin.remaining import Remaining, usual_seconds
from harness.pytest_plugin.run_session import RunSession, progress_line, worker_input
from harness.pytest_plugin.session import SESSION, Session
from harness.pytest_plugin.shards import shard_filter


def register(config: pytest.Config, options: Options) -> None:
    """Register the host's part of the plugin, for the lab that is chosen, and others' fixtures."""
    signals = ExitStack()
    signals.enter_context(signals_raised())
    config.add_cleanup(signals.close)
    say = progress_line(config)
    runs = RunSession(config, options.reports, say)
    config.stash[SESSION] = Session(options, runs, say)
    plugins = config.pluginmanager
    for entry in extensions(FIXTURES):
        if not plugins.is_registered(module := fixtures_of(entry)):
            plugins.register(module)
    if (shards := shard_filter(config)) is not None:
        plugins.register(shards, "swarm-chaos-shards")
    plugins.register(runs, "swarm-chaos-run")
    if not worker_input(config):
        remaining = Remaining(say, usual_seconds(options.reports))
        plugins.register(remaining, "swarm-chaos-remaining")
    if chosen_lab(options) == "microvm":
        plugins.register(HostProtocol(config, runs), "swarm-chaos-host")
    else:
        plugins.register(trial_protocol, "swarm-chaos-trial")
