"""Pages of the documents that are made from the code: the faults, and the scenarios."""

from harness.reference.collecting import collect
from harness.reference.pages import PAGES, stale, write
from harness.reference.scenario import Scenario

__all__ = ["PAGES", "Scenario", "collect", "stale", "write"]
