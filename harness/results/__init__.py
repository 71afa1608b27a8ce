"""Write and read runs on disk.

Stands on :mod:`harness.trial` alone; needs neither Linux nor root nor Docker.
"""

from harness.results.run import (
    RUN_SCHEMA,
    Damaged,
    Run,
    RunRecord,
    StoredTrial,
    latest_run,
    list_runs,
    read_run,
    write_run,
)
from harness.results.samples import Lines, journal, samples
from harness.results.writer import RunWriter, trial_id

__all__ = [
    "RUN_SCHEMA",
    "Damaged",
    "Lines",
    "Run",
    "RunRecord",
    "RunWriter",
    "StoredTrial",
    "journal",
    "latest_run",
    "list_runs",
    "read_run",
    "samples",
    "trial_id",
    "write_run",
]
