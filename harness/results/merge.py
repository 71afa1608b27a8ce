"""Merge several runs into one: the shards of a suite that ran in different places.

Merging is commutative and idempotent: the same runs give the same trials under the same names in
whatever order they are given, and byte-identical trials are taken once. Of different trials with
the same name (the same inputs in real time) all but one get a number.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from xml.etree import ElementTree as ET

from harness.errors import TrialError, UsageError
from harness.results.files import fingerprint, plain_files
from harness.results.run import TRIALS, Run, RunRecord, read_run, record_digest, write_run

_NUMBERED = re.compile(r"(.*\.s\d+(?:\.control)?)-(\d+)")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PAYLOADS = "payloads"
JUNIT = "junit.xml"


@dataclass(frozen=True)
class Merged:
    """The merged run; ``damage`` has a sentence for everything that could not be read."""

    folder: Path
    trials: int
    damage: tuple[str, ...]


def merge_runs(sources: Sequence[Path], into: Path) -> Merged:
    """Merge the runs in ``sources`` into a new folder ``into``, completely or not at all.

    Unfinished trials are included. Raises :class:`UsageError` if a source is not a run or
    ``into`` exists already, :class:`TrialError` if it cannot be written.
    """
    if not sources:
        raise UsageError("no run to merge was given")
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise UsageError(f"{into} exists already", hint="name a new folder")
    runs = sorted((read_run(source) for source in sources), key=_age)
    named = _named(runs)
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        half = Path(mkdtemp(prefix=f".{into.name}-", suffix=".part", dir=into.parent))
        half.chmod(0o755)
    except OSError as error:
        raise TrialError(f"cannot write next to {into}: {error.strerror}") from error
    try:
        (half / TRIALS).mkdir()
        for name, folder in named.items():
            _copy(folder, half / TRIALS / name)
        for run in runs:
            _copy(run.folder / PAYLOADS, half / PAYLOADS)
        damage = _merge_junit(runs, half / JUNIT)
        write_run(half, _record(runs, into.name, tuple(named), _sealed(runs, named)))
        if into.is_dir():
            into.rmdir()
        half.rename(into)
    except OSError as error:
        raise TrialError(f"cannot write {into}: {error.strerror}") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    damage += [
        f"{d.path.name} of {run.record.id}: {d.sentence}" for run in runs for d in run.damaged
    ]
    return Merged(into, len(named), tuple(dict.fromkeys(damage)))


def _age(run: Run) -> tuple[str, str, str]:
    # The fingerprint of its record decides between runs that began in one second.
    return run.record.started, run.record.id, fingerprint(run.folder)


def _named(runs: Sequence[Run]) -> dict[str, Path]:
    """The merged run's trials by name, in the order of the runs.

    Name conflicts are settled by the trials' contents alone, or merging again would give other
    names.
    """
    folders: dict[str, Path] = {}
    wanted: dict[str, tuple[str, int]] = {}
    for run in runs:
        for name, folder in _trials(run):
            mark = fingerprint(folder)
            if mark not in folders:
                folders[mark], wanted[mark] = folder, _parted(name)
    names: dict[str, str] = {}
    for mark in sorted(folders, key=lambda mark: (*wanted[mark], mark)):
        stem, number = wanted[mark]
        while (name := stem if number == 1 else f"{stem}-{number}") in names.values():
            number += 1
        names[mark] = name
    return {names[mark]: folder for mark, folder in folders.items()}


def _trials(run: Run) -> list[tuple[str, Path]]:
    """Names that the trials had when they ran, and their folders, in the run's order."""
    inside = run.folder / TRIALS
    there = [(t.record.id if _PLAIN.fullmatch(t.record.id) else t.id, t.folder) for t in run.trials]
    there += [
        (d.path.name, d.path) for d in run.damaged if d.path.parent == inside and d.path.is_dir()
    ]
    order = {name: number for number, name in enumerate(run.record.trials)}
    return sorted(there, key=lambda t: (order.get(t[1].name, len(order)), t[1].name))


def _parted(name: str) -> tuple[str, int]:
    """A trial's name without the number that it got because the name was taken, and that."""
    if match := _NUMBERED.fullmatch(name):
        return match[1], int(match[2])
    return name, 1


def _sealed(runs: Sequence[Run], named: dict[str, Path]) -> dict[str, str]:
    """The digests of the trials' records as their runs have them, so that a change stays one."""
    records = {run.folder / TRIALS / t: d for run in runs for t, d in run.record.records.items()}
    digests = {name: record_digest(folder) for name, folder in named.items()}
    known = set(records.values())
    found = {
        name: digest if (digest := digests[name]) in known else records.get(folder, "")
        for name, folder in named.items()
    }
    return {name: digest for name, digest in found.items() if digest}


def _record(
    runs: Sequence[Run], name: str, trials: tuple[str, ...], records: dict[str, str]
) -> RunRecord:
    whole = [run.record for run in runs]
    origins = sorted({origin for r in whole for origin in (r.merged or (r.id,))})
    commands = {r.command for r in whole}
    if len(commands) > 1:
        commands = {("swarm-chaos", "results", "merge", *origins)}
    return RunRecord(
        id=name,
        started=min(r.started for r in whole),
        command=commands.pop()
        if len(commands) == 1
        else ("swarm-chaos", "results", "merge", *origins),
        harness=", ".join(sorted({r.harness for r in whole if r.harness})),
        trials=trials,
        merged=tuple(origins),
        records=records,
    )


def _copy(source: Path, target: Path) -> None:
    if not source.is_dir():
        return
    target.mkdir(exist_ok=True)
    for path in plain_files(source):
        to = target / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)


def _merge_junit(runs: Sequence[Run], target: Path) -> list[str]:
    """All suites in one file, each once; a file that is not JUnit is reported and left out."""
    suites: dict[bytes, ET.Element] = {}
    damage = []
    for run in runs:
        path = run.folder / JUNIT
        if not path.is_file():
            continue
        try:
            root = ET.parse(path).getroot()
        except (ET.ParseError, UnicodeError) as error:
            damage.append(f"{JUNIT} of {run.record.id}: {error}")
            continue
        for suite in root.iter("testsuite"):
            suites.setdefault(ET.tostring(suite), suite)
    if suites:
        together = ET.Element("testsuites")
        together.extend(suites.values())
        ET.ElementTree(together).write(target, encoding="utf-8", xml_declaration=True)
    return damage
