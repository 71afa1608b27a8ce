"""Which differences count: per measure its direction and noise floor, from a TOML file.

::

    alpha = 0.05                        # of comparisons without a difference, how many may tell one

    [unit.s]                            # all measures in this unit
    absolute = 0.25                     # shifts up to this are noise, in the unit itself
    relative = 0.05                     # or up to this share of the baseline's median

    [measure."time to a new leader"]    # one measure; * and ? stand for any text
    absolute = 1.0
    better = "lower"                    # or "higher", "none"

    [measure."longest gap at *"]
    ignore = true

A measure's table replaces what its unit's says, key by key; the larger of the two floors holds.
Of several patterns the last that fits goes.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.results.statistics.judgement import ALPHA
from harness.trial import Direction


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is said of a measure or a unit; None: nothing."""

    absolute: float | None = None
    relative: float | None = None
    better: Direction | None = None
    ignore: bool = False


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a thresholds file can say."""

    alpha: float = ALPHA
    unit: dict[str, Threshold] = {}
    measure: dict[str, Threshold] = {}


DEFAULT_UNITS = {
    "s": Threshold(absolute=0.1, relative=0.05),
    "ms": Threshold(absolute=5.0, relative=0.05),
    "1": Threshold(absolute=0.005, relative=0.0),
    "MiB": Threshold(absolute=2.0, relative=0.05),
    "MiB/h": Threshold(absolute=1.0, relative=0.05),
    "1/s": Threshold(absolute=0.5, relative=0.05),
}
"""Noise floors of units, where no file says otherwise.

Half a percent of all requests; a tenth of a second, which is how often most states are asked for;
two MiB, which is what Go's collector moves an idle dockerd by.
"""

OTHERWISE = Threshold(absolute=0.0, relative=0.05)
"""Of units that are not listed."""


@dataclass(frozen=True)
class Rule:
    """What holds for one measure."""

    better: Direction
    absolute: float
    relative: float
    ignore: bool

    def floor(self, baseline: float) -> float:
        """The smallest shift that counts, in the unit, against this median of the baseline."""
        return max(self.absolute, self.relative * abs(baseline))


def rule_for(thresholds: Thresholds, measure: str, unit: str, better: Direction) -> Rule:
    """The rule of a measure whose record says ``better``."""
    known = DEFAULT_UNITS.get(unit, OTHERWISE)
    layers = [known, thresholds.unit.get(unit, Threshold())]
    layers += [t for name, t in thresholds.measure.items() if fnmatchcase(measure, name)][-1:]
    rule = Rule(better, 0.0, 0.0, ignore=False)
    for layer in layers:
        rule = Rule(
            better=layer.better or rule.better,
            absolute=rule.absolute if layer.absolute is None else layer.absolute,
            relative=rule.relative if layer.relative is None else layer.relative,
            ignore=layer.ignore or rule.ignore,
        )
    return rule


def read_thresholds(path: Path) -> Thresholds:
    """Read a thresholds file; :class:`UsageError` says what is wrong with it, and where."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the thresholds {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8") from error
    try:
        read = msgspec.convert(tomllib.loads(text), Thresholds)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{path} says what no threshold can mean: {_plainly(str(error))}",
            hint='tables are [unit.UNIT] and [measure."NAME"], their keys absolute, relative, '
            "better, ignore; alpha stands above them",
        ) from error
    _check(path, read)
    return read


def _check(path: Path, read: Thresholds) -> None:
    if not 0 < read.alpha < 1:
        raise UsageError(f"{path}: alpha = {read.alpha:g} is no share between 0 and 1")
    for kind, tables in (("unit", read.unit), ("measure", read.measure)):
        for name, threshold in tables.items():
            for key in ("absolute", "relative"):
                value = getattr(threshold, key)
                if value is not None and not 0 <= value < float("inf"):
                    raise UsageError(
                        f'{path}: {key} = {value:g} of [{kind}."{name}"] is no floor',
                        hint="a floor is zero or more",
                    )


def _plainly(sentence: str) -> str:
    """msgspec's words, with the place as TOML people write it."""
    what, _, where = sentence.partition(" - at `")
    place = where.removesuffix("`").replace("$.", "").replace("[...]", '."…"').replace("$", "")
    return f"{what} (at {place})" if place else what
