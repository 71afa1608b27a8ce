"""What became of a request, from its code or its error."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load import CONNECTION_ERRORS, OUTCOMES
from harness.load.outcome import outcome_of_code, outcome_of_error


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        *((code, "ok") for code in (200, 204, 302, 399)),
        *((code, "4xx") for code in (400, 404, 499)),
        *((code, "5xx") for code in (500, 502, 504, 599)),
    ],
)
def test_a_code_has_its_outcome(code: int, outcome: str) -> None:
    assert outcome_of_code(code) == outcome


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "refused"),
        (ConnectionRefusedError("without a number"), "refused"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "reset"),
        (BrokenPipeError(errno.EPIPE, "pipe"), "reset"),
        (ConnectionError("the answer broke off"), "reset"),
        (TimeoutError("no answer in time"), "timeout"),
        (TimeoutError(errno.ETIMEDOUT, "the kernel gave up"), "timeout"),
        (OSError(errno.EHOSTUNREACH, "no route to host"), "unreachable"),
        (OSError(errno.ENETUNREACH, "network is unreachable"), "unreachable"),
        (OSError(errno.EMFILE, "too many open files"), "client"),
        (OSError(errno.EADDRNOTAVAIL, "no port left"), "client"),
        (PermissionError(errno.EPERM, "a rule of ours"), "client"),
        (ValueError("a mistake of ours"), "client"),
    ],
)
def test_an_error_has_its_outcome(error: Exception, outcome: str) -> None:
    assert outcome_of_error(error) == outcome


@given(st.sampled_from(sorted(errno.errorcode)))
def test_an_error_is_never_a_success_nor_an_answer(number: int) -> None:
    outcome = outcome_of_error(OSError(number, "anything"))
    assert outcome in {*CONNECTION_ERRORS, "client"}
    assert outcome in OUTCOMES
