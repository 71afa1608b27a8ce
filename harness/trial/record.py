"""What a trial leaves behind: ``trial.json`` and the folder around it.

A trial's folder::

    trial.json           all inputs, the verdict, the measures, the digest of the rest
    journal.jsonl        what happened, in order
    samples/*.jsonl      one file per probe; requests.jsonl is the load's
    logs/<node>.log      one log per dockerd

``samples/requests.jsonl``: ``t`` (s, start of the request), ``took`` (s), ``code`` (0: none),
``outcome`` (ok, 4xx, 5xx, refused, reset, timeout, unreachable, client), ``entry`` (node asked),
``task`` and ``node`` (who answered, "" if nobody).
``samples/leadership.jsonl``: ``t``, ``by`` (manager asked), ``leader`` (name or null), ``error``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.errors import TrialError
from harness.files import write_atomically
from harness.trial.measure import Measure
from harness.trial.oracles import broken_oracles
from harness.trial.verdict import Verdict

SCHEMA = 1


class EngineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Which engine ran: ``version`` was read back from its binary."""

    name: str
    version: str
    source: str
    digest: str


class TrialInputs(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a trial's course depends on."""

    scenario: str
    control: bool = False
    engine: EngineFacts
    topology: str
    lab: str
    kernel: str
    clock: Literal["real", "virtual"]
    seed: int
    options: dict[str, str] = {}


class TrialRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``trial.json``. ``seconds`` is the trial's length on its own clock.

    ``verdict`` is the check's, of this swarm. For a control, a swarm broken on purpose, it must be
    "fail", by the expectations in ``must_break``; see :func:`as_expected`. ``about`` is the
    docstring of the scenario's file, then its own. ``known_bugs`` are threads upstream: this engine
    is known to have them, so the scenario must fail, too, by the expectations in ``must_break`` and
    no others. ``incomplete`` says which questions were left without an answer: what the body
    raised, measures that could not be held against their bounds. ``oracles_off`` are oracles that
    were not held against it (name -> reason); see :mod:`harness.trial.oracles`.
    """

    schema: int = SCHEMA
    id: str
    title: str = ""
    about: str = ""
    inputs: TrialInputs
    verdict: Verdict
    reason: str = ""
    incomplete: str = ""
    seconds: float
    measures: tuple[Measure, ...] = ()
    upstream: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    must_break: tuple[str, ...] = ()
    known_bugs: tuple[str, ...] = ()
    oracles_off: dict[str, str] = {}
    files: dict[str, str] = {}
    digest: str = ""


def as_expected(record: TrialRecord) -> bool | None:
    """Return whether a trial came out as it should; None if that cannot be said.

    A control must break every expectation that names it: one that passes, or fails by something
    else, shows that the check is blind. What is held against every trial must hold in a control,
    too, unless it is to break it. A scenario in which this engine is known to have a bug
    must fail by the expectations that the bug breaks and by no other: once it passes, the bug is
    fixed and the mark is wrong. What was not measured could have come out otherwise, so neither is
    as expected if a question was left without an answer.
    """
    if record.verdict == "unknown":
        return None
    if not record.inputs.control and not record.known_bugs:
        return record.verdict == "pass"
    if unexplained(record):
        return False
    if record.incomplete:
        return None
    return record.verdict == "fail" and not unbroken(record)


def unexplained(record: TrialRecord) -> list[Measure]:
    """Return the broken measures that nothing in the record explains.

    A scenario with known bugs breaks what they break and no more. A control may break more than
    it must, but not what is held against every trial.
    """
    if record.inputs.control:
        return unexpected_oracles(record)
    if not record.must_break:
        return []
    must = set(record.must_break)
    return [m for m in record.measures if m.ok is False and not {m.name, m.expectation} & must]


def unbroken(record: TrialRecord) -> list[str]:
    """Return the names of the expectations that had to be broken and were not."""
    broken = {n for m in record.measures if m.ok is False for n in (m.name, m.expectation)}
    return sorted(set(record.must_break) - broken)


def unexpected_oracles(record: TrialRecord) -> list[Measure]:
    """Return the broken measures of every trial that this one was not to break."""
    return [m for m in broken_oracles(record.measures) if m.name not in record.must_break]


def digest_files(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of a trial's folder but ``trial.json``, by relative path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "trial.json"
    }


def digest_of(files: Mapping[str, str]) -> str:
    """Return one sha256 over names and digests: equal for trials that are byte-identical."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def write_record(folder: Path, record: TrialRecord) -> None:
    """Write ``trial.json`` atomically; :class:`TrialError` for one that could not be read back."""
    try:
        text = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
        msgspec.json.decode(text, type=TrialRecord)
    except (TypeError, msgspec.MsgspecError) as error:
        raise TrialError(f"the record of {record.id} cannot be written: {error}") from error
    try:
        write_atomically(folder / "trial.json", text)
    except OSError as error:
        raise TrialError(f"cannot write {folder / 'trial.json'}: {error.strerror}") from error


def read_record(folder: Path) -> TrialRecord:
    """Read ``trial.json``; raise :class:`TrialError` for one that cannot be read."""
    path = folder / "trial.json"
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TrialError(f"cannot read {path}: {error.strerror}") from error
    try:
        head: dict[str, Any] = msgspec.json.decode(raw, type=dict[str, Any])
        if (schema := head.get("schema")) != SCHEMA:
            raise TrialError(
                f"{path} has schema {schema}; this harness reads {SCHEMA}",
                hint="read it with the version of swarm-chaos that wrote it",
            )
        return msgspec.json.decode(raw, type=TrialRecord)
    except msgspec.DecodeError as error:
        raise TrialError(f"{path} is not a valid trial record: {error}") from error
