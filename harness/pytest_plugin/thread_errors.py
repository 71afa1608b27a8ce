"""Exceptions that end a thread while a scenario runs: a reason not to believe its trial."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def threads_reported(doubt: Callable[[str], None]) -> Iterator[None]:
    """Call ``doubt`` for each exception that ends a thread, in place of pytest's own hook.

    pytest would warn of it, or fail the test, when the trial has been judged. The traceback goes to
    standard error.
    """

    def report(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is SystemExit:
            return
        name = args.thread.name if args.thread is not None else "unknown"
        said = f"{args.exc_type.__name__}: {args.exc_value}".splitlines()[0]
        doubt(f"the thread {name} ended with {said}")
        threading.__excepthook__(args)

    before = threading.excepthook
    threading.excepthook = report
    try:
        yield
    finally:
        threading.excepthook = before
