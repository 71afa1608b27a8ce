"""Plugins of pytest that come with libraries of the harness and do no good to a scenario."""

from __future__ import annotations

import sys

import pytest

from harness.errors import UsageError

LOCUST = "locust"

#: How a program that has imported the harness calls pytest: with this plugin even where no entry
#: point names it, without those others (Locust's makes greenlets of threads), and without a warning
#: that the harness's asserts are plain ones.
CALLED_WITH = (
    *("-p", "harness.pytest_plugin"),
    *("-p", f"no:{LOCUST}", "-p", "no:testinfra"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)


def block(plugins: pytest.PytestPluginManager) -> None:
    """Keep pytest from loading Locust's plugin, if it has not done so yet."""
    if not plugins.hasplugin(LOCUST):
        plugins.set_blocked(LOCUST)


def refuse_replaced_threads() -> None:
    """Raise :class:`UsageError` if threads have become greenlets: probes are threads of nodes."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        raise UsageError(
            "gevent has replaced Python's threads, which probes and faults need; "
            "Locust's pytest plugin does that",
            hint="use `swarm-chaos run`, or give pytest `-p no:locust` (addopts in its settings)",
        )
