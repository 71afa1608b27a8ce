"""What became of a request, in one word.

``ok`` is any answer below 400 (redirects are not followed: one is an answer). ``reset`` is a
connection that was there and broke, or an answer that broke off or was no HTTP. ``timeout`` is
no connection or no complete answer in time. ``client`` is trouble of the generator's own (no port,
no file descriptor left) and says nothing about the swarm.
"""

from __future__ import annotations

import errno
from typing import Literal, get_args

Outcome = Literal["ok", "4xx", "5xx", "refused", "reset", "timeout", "unreachable", "client"]

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

CONNECTION_ERRORS: tuple[Outcome, ...] = ("refused", "reset", "timeout", "unreachable")
"""The outcomes in which a request was sent, or tried to be, and nobody answered."""

_BY_ERRNO: dict[int, Outcome] = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.ECONNABORTED: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.ENETDOWN: "unreachable",
}


def outcome_of_code(code: int) -> Outcome:
    """Return the outcome of an answer with HTTP status ``code``."""
    if code < 400:
        return "ok"
    return "4xx" if code < 500 else "5xx"


def outcome_of_error(error: BaseException) -> Outcome:
    """Return the outcome of a request that ended in ``error`` and not in an answer.

    The error number decides where there is one; a ``TimeoutError`` or a connection error that was
    raised without one is judged by its class; anything else is the client's own.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return _BY_ERRNO.get(error.errno, "client")
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, ConnectionError):
        return "reset"
    return "client"
