"""How many workers pytest-xdist starts for scenarios."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.pytest_plugin.markers import chosen_lab
from harness.pytest_plugin.options import read


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """``-n auto``: as many guests as the pool has CPUs for; nodes on this kernel share it.

    pytest-xdist asks before anything is configured, so the options are read here.
    """
    if not any(name in str(arg) for arg in config.args for name in ("scenarios", "chaos")):
        return None
    try:
        options = read(config)
    except UsageError:
        return None  # refused when the plugin is configured
    if chosen_lab(options) != "microvm":
        return 1
    from harness.vm.machine import Machine
    from harness.vm.pool import Pool, own_mib

    return Pool(guest_mib=own_mib(options.memory or Machine.memory_mib)).slots
