"""Faults by hand: a lab held open, and inject, heal, status from any terminal."""

from harness.manual.injected_store import InjectedStore, Page
from harness.manual.open_lab import find, hold, open_labs
from harness.manual.session import ManualSession

__all__ = ["InjectedStore", "ManualSession", "Page", "find", "hold", "open_labs"]
