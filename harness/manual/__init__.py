"""Faults by hand: a lab held open, and inject, heal, status from any terminal."""

from harness.hand.book import Book, Page
from harness.hand.opened import find, hold, open_labs
from harness.hand.workbench import Bench

__all__ = ["Bench", "Book", "Page", "find", "hold", "open_labs"]
