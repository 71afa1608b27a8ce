"""Faults by hand: a lab held open, and inject, heal, status from any terminal."""

from harness.manual.injected_store import Book, Page
from harness.manual.open_lab import find, hold, open_labs
from harness.manual.session import Bench

__all__ = ["Bench", "Book", "Page", "find", "hold", "open_labs"]
