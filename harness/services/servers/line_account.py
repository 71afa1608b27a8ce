"""Which of a program's numbered lines arrived: each once, more than once, or never."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """What became of the lines of one task with numbers below ``sent``.

    ``received`` counts lines that arrived at least once, so ``sent == received + lost`` to the
    line. ``gaps`` are the lost ones as ranges (first, one beyond the last). ``beyond`` are lines
    that arrived with a number that had not been sent when the account was asked for.
    """

    sent: int
    received: int
    lost: int
    duplicates: int
    late: int
    gaps: tuple[tuple[int, int], ...]
    beyond: int


class LineAccounts:
    """One task's lines. A bit per line: a million lines are 125 kB."""

    def __init__(self) -> None:
        self._seen = bytearray()
        self.arrived = 0
        """All that came, duplicates included."""
        self.duplicates = 0
        self.late = 0
        """Came after one with a higher number."""
        self.highest = -1

    def add(self, number: int) -> None:
        """A line arrived."""
        place, bit = divmod(number, 8)
        if place >= len(self._seen):
            self._seen.extend(bytes(max(place + 1 - len(self._seen), 4096)))
        self.arrived += 1
        if self._seen[place] >> bit & 1:
            self.duplicates += 1
            return
        self._seen[place] |= 1 << bit
        if number < self.highest:
            self.late += 1
        else:
            self.highest = number

    def account(self, sent: int) -> Account:
        """Return what became of the lines 0 to ``sent`` - 1."""
        numbers = int.from_bytes(self._seen, "little")
        below = numbers & ((1 << sent) - 1)
        received = below.bit_count()
        return Account(
            sent=sent,
            received=received,
            lost=sent - received,
            duplicates=self.duplicates,
            late=self.late,
            gaps=_zeros(below, sent),
            beyond=numbers.bit_count() - received,
        )


def _zeros(bits: int, length: int) -> tuple[tuple[int, int], ...]:
    """The runs of zeros among the lowest ``length`` bits."""
    text = f"{bits:0{length}b}"[::-1] if length else ""
    gaps = []
    at = text.find("0")
    while at >= 0:
        end = text.find("1", at)
        end = length if end < 0 else end
        gaps.append((at, end))
        at = text.find("0", end)
    return tuple(gaps)
