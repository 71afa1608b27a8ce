"""Pages of the documents that are generated from the code: the faults, and the scenarios."""

from harness.docgen.collection import collect
from harness.docgen.pages import PAGES, stale, write
from harness.docgen.scenario import Scenario

__all__ = ["PAGES", "Scenario", "collect", "stale", "write"]
