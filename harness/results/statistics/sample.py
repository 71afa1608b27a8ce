"""What is compared: one value per trial, some of them known only as "longer than"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """Values of one measure, one per trial. ``censored[i]``: the true value is larger."""

    values: tuple[float, ...]
    censored: tuple[bool, ...]

    @classmethod
    def of(cls, values: Iterable[float], censored: Sequence[bool] = ()) -> Sample:
        """Return a sample; without ``censored`` every value is what it says."""
        taken = tuple(float(value) for value in values)
        flags = tuple(bool(flag) for flag in censored) or (False,) * len(taken)
        if len(flags) != len(taken):
            raise ValueError(f"{len(taken)} values and {len(flags)} flags")
        return cls(taken, flags)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def array(self) -> Floats:
        """The values, a censored one being where the watching ended."""
        return np.asarray(self.values, dtype=np.float64)

    @property
    def flags(self) -> Flags:
        """Which of them are "longer than"."""
        return np.asarray(self.censored, dtype=np.bool_)
