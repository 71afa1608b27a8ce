"""Hand a run's trials to a Dask cluster and put what comes back into one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import uuid4

from harness.errors import (
    EXIT_EXPECTATION,
    EXIT_OK,
    EXIT_TROUBLE,
    EXIT_USAGE,
    HarnessError,
    MissingError,
    UsageError,
)
from harness.images import Say
from harness.pytest_plugin.cluster.job import Job, Outcome, code_digest, run_job
from harness.results.archive import import_run
from harness.results.merge import merge_runs

if TYPE_CHECKING:
    from distributed import Client

SCHEME = "dask://"
_ANSWER_WITHIN = 15.0  # seconds for the scheduler
_WORKERS_WITHIN = 60.0  # seconds for its first worker


@dataclass
class Gathered:
    """What came back from the cluster."""

    folder: Path | None = None
    """The merged run; None if no trial left one."""
    codes: Counter[int] = field(default_factory=Counter)
    """Exit codes of the trials' runs."""
    lost: list[str] = field(default_factory=list)
    """Cases that no worker brought to an end, and why."""

    @property
    def exit_code(self) -> int:
        """Return 1 if an expectation failed, 2 if a trial was lost or unknown, else 0."""
        if self.codes[EXIT_EXPECTATION]:
            return EXIT_EXPECTATION
        whole = not self.lost and set(self.codes) <= {EXIT_OK}
        return EXIT_OK if whole and self.folder is not None else EXIT_TROUBLE


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Yield a client of the cluster at ``dask://HOST:PORT`` that has a worker.

    :class:`UsageError` for an address that is none, :class:`MissingError` without Dask,
    :class:`HarnessError` when nobody answers or there is no worker.
    """
    host, _, port = address.removeprefix(SCHEME).rpartition(":")
    if not address.startswith(SCHEME) or not host or not port.isdigit():
        raise UsageError(
            f"{address!r} is not the address of a cluster",
            hint=f"write {SCHEME}HOST:PORT of a Dask scheduler",
        )
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingError(
            "Dask is not installed here", hint="pip install 'swarm-chaos[dask]'"
        ) from error
    where = f"tcp://{host}:{port}"
    try:
        client = Client(where, timeout=_ANSWER_WITHIN)
    except (OSError, ValueError) as error:
        raise HarnessError(
            f"no Dask scheduler answers at {where}",
            hint="start one with `dask scheduler`, and workers with `dask worker ADDRESS`",
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_WORKERS_WITHIN)
        except TimeoutError as error:
            raise HarnessError(
                f"the Dask scheduler at {where} has no worker",
                hint=f"start one in the project's folder: dask worker {where}",
            ) from error
        yield client


def run_on(
    client: Client,
    cases: Sequence[str],
    options: Sequence[str],
    reports: Path,
    *,
    packaged: bool,
    name: str,
    say: Say,
) -> Gathered:
    """Run ``cases`` on the cluster, and merge what they left into the new run ``reports/name``.

    A worker's loss costs its trials a second start, and no trial is taken twice. ``say`` gets a
    line for each that ends. :class:`UsageError` when a worker's code is not this machine's.
    """
    from distributed import Event, as_completed

    run = f"swarm-chaos-{uuid4().hex[:12]}"
    digests = {file: code_digest(file, packaged=packaged) for file in map(_file, cases)}
    jobs = [Job(run, case, tuple(options), packaged, digests[_file(case)]) for case in cases]
    given_up = Event(run, client=client)
    futures = [
        client.submit(run_job, job, key=f"{run}-{number}", pure=False)
        for number, job in enumerate(jobs)
    ]
    case_of = {future.key: case for future, case in zip(futures, cases, strict=True)}
    gathered = Gathered()
    with TemporaryDirectory(prefix="swarm-chaos-cluster-") as scratch:
        parts: list[Path] = []
        try:
            for count, future in enumerate(as_completed(futures, raise_errors=False), 1):
                case = case_of[future.key]
                line = f"{count} of {len(futures)}: {case}"
                if (trouble := future.exception()) is not None:
                    why = f"{type(trouble).__name__}: {trouble}".splitlines()[0]
                    gathered.lost.append(f"{case}: {why}")
                    say(f"{line}: lost, {why}")
                    continue
                outcome: Outcome = future.result()
                future.release()  # a trial's run is some megabytes
                say(f"{line}: {_word(outcome)} on {outcome.worker}")
                gathered.codes[outcome.code] += 1
                if outcome.archive is not None:
                    parts.append(_unpacked(outcome.archive, Path(scratch, str(count))))
        except BaseException:
            with suppress(Exception):
                given_up.set()
                client.cancel(futures)
            raise
        if parts:
            gathered.folder = merge_runs(parts, reports / name).folder
    return gathered


def _unpacked(archive: bytes, into: Path) -> Path:
    into.mkdir()
    packed = into / "run.tar.gz"
    packed.write_bytes(archive)
    return import_run(packed, into / "run").folder


def _file(case: str) -> str:
    return case.partition("::")[0]


def _word(outcome: Outcome) -> str:
    """How a trial ended. :class:`UsageError` if its worker would not run it."""
    if outcome.code == EXIT_USAGE:
        raise UsageError(f"worker {outcome.worker} refuses {outcome.case}", hint=outcome.said)
    if outcome.archive is None:  # skipped for what its kernel lacks, or ended before it began
        return f"no trial, exit code {outcome.code}: {' '.join(outcome.said.splitlines()[-1:])}"
    words = {EXIT_OK: "as expected", EXIT_EXPECTATION: "not as expected", EXIT_TROUBLE: "unknown"}
    return words.get(outcome.code, f"exit code {outcome.code}")
