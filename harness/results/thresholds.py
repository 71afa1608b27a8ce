"""Thresholds: each measure's direction and noise floor, from a TOML file.

::

    alpha = 0.05                        # share of false alarms where nothing differs

    [unit.s]                            # all measures in this unit
    absolute = 0.25                     # shifts up to this are noise, in that unit
    relative = 0.05                     # or up to this share of the baseline's median

    [measure."time to a new leader"]    # one measure; * and ? stand for any text
    absolute = 1.0
    better = "lower"                    # or "higher", "none"

    [measure."longest gap *"]
    ignore = true

A measure's table overrides its unit's, key by key; the larger of the two floors applies. If
several patterns match, the last one applies.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.results.statistics.judgement import ALPHA
from harness.results.toml_settings import read_toml
from harness.trial import Direction


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The settings of a measure or a unit; None leaves a setting unchanged."""

    absolute: float | None = None
    relative: float | None = None
    better: Direction | None = None
    ignore: bool = False


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of a thresholds file."""

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
"""Default noise floors by unit.

Half a percent of all requests; a tenth of a second, the interval at which most states are polled;
2 MiB, by which Go's garbage collector moves an idle dockerd.
"""

OTHER_UNITS = Threshold(absolute=0.0, relative=0.05)
"""The noise floor of units that are not listed."""


@dataclass(frozen=True)
class Rule:
    """The settings that apply to one measure."""

    better: Direction
    absolute: float
    relative: float
    ignore: bool

    def floor(self, baseline: float) -> float:
        """Return the smallest shift that counts, in the unit, given the baseline's median."""
        return max(self.absolute, self.relative * abs(baseline))


def rule_for(thresholds: Thresholds, measure: str, unit: str, better: Direction) -> Rule:
    """Return the rule for a measure whose record says ``better``."""
    known = DEFAULT_UNITS.get(unit, OTHER_UNITS)
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
    _, raw = read_toml(path, "the thresholds file")
    try:
        read = msgspec.convert(raw, Thresholds)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{path} has an invalid setting: {_plainly(str(error))}",
            hint='tables are [unit.UNIT] and [measure."NAME"], with the keys absolute, relative, '
            "better and ignore; alpha comes before them",
        ) from error
    _check(path, read)
    return read


def _check(path: Path, read: Thresholds) -> None:
    if not 0 < read.alpha < 1:
        raise UsageError(
            f"{path}: alpha = {read.alpha:g} is not a valid share: give a number between 0 and 1"
        )
    for kind, tables in (("unit", read.unit), ("measure", read.measure)):
        for name, threshold in tables.items():
            for key in ("absolute", "relative"):
                value = getattr(threshold, key)
                if value is not None and not 0 <= value < float("inf"):
                    raise UsageError(
                        f'{path}: {key} = {value:g} in [{kind}."{name}"] is not a valid floor: '
                        "give zero or more"
                    )


def _plainly(sentence: str) -> str:
    """Return msgspec's message, with the location in TOML notation."""
    what, _, where = sentence.partition(" - at `")
    place = where.removesuffix("`").replace("$.", "").replace("[...]", '."…"').replace("$", "")
    return f"{what} (at {place})" if place else what
