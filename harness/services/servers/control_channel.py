"""The control channel of a child process: commands as JSON lines, each answered by one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

_PIECE = 65536

#: What carries a command out; what it returns is the answer.
Obey = Callable[[dict[str, Any]], dict[str, Any]]


class ControlChannel:
    """Commands as they come on ``descriptor``; ``tell`` gets each answer, its newline included."""

    def __init__(self, descriptor: int, obey: Obey, tell: Callable[[bytes], object]) -> None:
        self._descriptor = descriptor
        self._handle = obey
        self._tell = tell
        self._rest = b""

    def take(self) -> bool:
        """Read once, and answer every complete line; return False when there will be no more."""
        piece = os.read(self._descriptor, _PIECE)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._tell(answered(line, self._handle))
        return bool(piece)


def answered(line: bytes | str, obey: Obey) -> bytes:
    """Return the answer to one command; an error is answered under ``error``."""
    try:
        answer = obey(json.loads(line))
    except (OSError, ValueError, TypeError, KeyError) as error:
        answer = {"error": str(error)}
    return json.dumps(answer).encode() + b"\n"
