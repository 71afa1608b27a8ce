"""Orders to a child process: JSON lines on a descriptor, each answered by one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

_PIECE = 65536

#: What carries an order out; what it returns is the answer.
Obey = Callable[[dict[str, Any]], dict[str, Any]]


class ControlChannel:
    """Orders as they come on ``descriptor``; ``tell`` gets each answer, its newline included."""

    def __init__(self, descriptor: int, obey: Obey, tell: Callable[[bytes], object]) -> None:
        self._descriptor = descriptor
        self._obey = obey
        self._tell = tell
        self._rest = b""

    def take(self) -> bool:
        """Read once, and answer every whole line; False when there will be no more."""
        piece = os.read(self._descriptor, _PIECE)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._tell(answered(line, self._obey))
        return bool(piece)


def answered(line: bytes | str, obey: Obey) -> bytes:
    """The answer to one order; what is wrong with an order is its answer, under ``error``."""
    try:
        answer = obey(json.loads(line))
    except (OSError, ValueError, TypeError, KeyError) as error:
        answer = {"error": str(error)}
    return json.dumps(answer).encode() + b"\n"
