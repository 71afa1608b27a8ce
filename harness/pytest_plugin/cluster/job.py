"""What a worker of the cluster does: one trial, in a process of its own, packed and sent back."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import harness
from harness.errors import EXIT_INTERRUPTED, EXIT_USAGE
from harness.results.archive import export_run
from harness.results.run import list_runs

_LOOK_EVERY = 1.0  # seconds: whether the run was given up
_LAST_LINES = 15
_CODE = Path(harness.__file__).resolve().parent
_PACKAGED = (_CODE.parent, _CODE / "packaged")  # where scenarios/ is: in a checkout, in a wheel


@dataclass(frozen=True)
class Job:
    """A trial to run, by the node id of its case and the options of the whole run."""

    run: str
    """Which run it belongs to; also the name of the event that gives it up."""
    case: str
    """pytest's node id, its file relative to the folder in which workers are started, or that of
    the packaged scenarios."""
    options: tuple[str, ...]
    packaged: bool
    """Whether the case is one of those that come with the harness."""
    code: str
    """:func:`code_digest` of the machine that asks."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    case: str
    worker: str
    code: int
    """Exit code of ``swarm-chaos run``."""
    said: str
    """The last lines of its output."""
    archive: bytes | None
    """Its run as :func:`~harness.results.archive.export_run` packs it; None if there is none."""


def code_digest(case: str, *, packaged: bool) -> str:
    """Return a sha256 over the harness's own code and the file of ``case``.

    Workers with another code would give other results without a word.
    """
    digest = hashlib.sha256()
    for path in sorted(_CODE.rglob("*.py")):
        digest.update(path.relative_to(_CODE).as_posix().encode())
        digest.update(path.read_bytes())
    file = _file_of(case, packaged=packaged)
    digest.update(file.read_bytes() if file.is_file() else b"none")
    return digest.hexdigest()


def run_job(job: Job) -> Outcome:
    """Run a trial here, and return its packed run. Called by a Dask worker.

    Nothing is run, and the exit code is that of wrong usage, when this machine's harness or
    scenarios are not those of the run.
    """
    from distributed import Event, get_worker

    worker = get_worker()
    file = _file_of(job.case, packaged=job.packaged)
    if (refusal := _refusal(job, file)) is not None:
        return Outcome(job.case, str(worker.name), EXIT_USAGE, refusal, None)
    given_up = Event(job.run)
    # Below the worker's own folder, which Dask removes when a worker was killed.
    with TemporaryDirectory(prefix="trial-", dir=worker.local_directory) as scratch:
        reports = Path(scratch, "reports")
        with (
            Path(scratch, "output").open("w+b") as output,
            subprocess.Popen(
                # A worker that is killed takes its trial with it.
                ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "harness.cli", "run",
                 str(file) + job.case[len(job.case.partition("::")[0]) :],
                 *job.options, f"--reports={reports}"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            ) as process,
        ):  # fmt: skip
            while True:
                try:
                    code = process.wait(_LOOK_EVERY)
                    break
                except subprocess.TimeoutExpired:
                    if given_up.is_set():
                        process.terminate()
                        process.wait()
                        return Outcome(job.case, str(worker.name), EXIT_INTERRUPTED, "", None)
            output.seek(0)
            said = output.read().decode(errors="replace").splitlines()[-_LAST_LINES:]
        runs = list_runs(reports)
        packed = export_run(runs[0], Path(scratch, "run.tar.gz")).read_bytes() if runs else None
        return Outcome(job.case, str(worker.name), code, "\n".join(said), packed)


def _refusal(job: Job, file: Path) -> str | None:
    """Why a trial cannot run here, if so."""
    if not file.is_file():
        return f"it has no {file}: start workers in the folder of the same project"
    if code_digest(job.case, packaged=job.packaged) != job.code:
        return (
            f"its harness, or its {file.name}, is another than this machine's: install the same "
            "version, and check out the same commit"
        )
    return None


def packaged_project() -> Path:
    """Return the folder whose ``scenarios/`` came with the harness."""
    return next((each for each in _PACKAGED if (each / "scenarios").is_dir()), _PACKAGED[1])


def _file_of(case: str, *, packaged: bool) -> Path:
    return (packaged_project() if packaged else Path.cwd()) / case.partition("::")[0]
