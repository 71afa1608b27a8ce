"""What holds for all of the harness's own tests."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings
from lanes import Lanes

# Deadlines of examples measure the machine: a busy one must not fail what is right.
settings.register_profile("harness", deadline=None)
settings.load_profile("harness")

# A shell has what it runs in its background ignore Ctrl-C, and so would all that tests start and
# interrupt: an ignored signal is inherited, a handled one is not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Lanes:
    """`-n`: long lanes first, not the files with the most tests."""
    config.option.loadscopereorder = False
    return Lanes(config, log)
