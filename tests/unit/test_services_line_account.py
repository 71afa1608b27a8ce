"""The account of lines against a plain set of numbers."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from harness.services.servers.line_account import LineAccounts


@given(st.lists(st.integers(0, 300)), st.integers(0, 320))
def test_the_account_is_that_of_a_set(numbers: Sequence[int], sent: int) -> None:
    tally = LineAccounts()
    for number in numbers:
        tally.add(number)
    account = tally.account(sent)
    below = {number for number in numbers if number < sent}
    assert account.sent == sent == account.received + account.lost
    assert account.received == len(below)
    assert account.beyond == len(set(numbers)) - len(below)
    assert account.duplicates == len(numbers) - len(set(numbers))
    missing = [number for first, end in account.gaps for number in range(first, end)]
    assert missing == [number for number in range(sent) if number not in below]


def test_gaps_are_the_longest_runs_there_are() -> None:
    tally = LineAccounts()
    for number in (0, 3, 4, 9):
        tally.add(number)
    assert tally.account(12).gaps == ((1, 3), (5, 9), (10, 12))


def test_what_comes_behind_a_higher_number_is_late() -> None:
    tally = LineAccounts()
    for number in (0, 2, 1, 3, 3):
        tally.add(number)
    assert (tally.late, tally.duplicates, tally.arrived) == (1, 1, 5)


def test_a_million_lines_take_an_eighth_of_their_bytes() -> None:
    tally = LineAccounts()
    for number in range(0, 1_000_000, 1000):
        tally.add(number)
    account = tally.account(1_000_000)
    assert (account.received, account.lost, len(account.gaps)) == (1000, 999_000, 1000)
