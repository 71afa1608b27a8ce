"""Faults by hand: a lab kept open, and inject, heal, status from any terminal."""

from harness.manual.injected_store import InjectedFault, InjectedStore
from harness.manual.open_lab import find, keep_open, open_labs
from harness.manual.session import ManualSession

__all__ = [
    "InjectedFault",
    "InjectedStore",
    "ManualSession",
    "find",
    "keep_open",
    "open_labs",
]
