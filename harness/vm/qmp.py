"""A small client for QEMU's machine protocol, over a socket made before QEMU starts."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from harness.errors import MicrovmError


class Qmp:
    """Speaks QMP on one end of a socket pair; QEMU has the other.

    There is no path in the file system and nothing to clean up. Every call has a deadline.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._buffer = b""
        self._told = 0
        self.events: list[dict[str, Any]] = []

    def greet(self, within: float) -> None:
        """Take QEMU's greeting and enter command mode."""
        deadline = time.monotonic() + within
        while "QMP" not in self._message(deadline):
            pass
        # Out-of-band commands are never sent. But without them a monitor takes no command before it
        # was woken from the last one, and it rests meanwhile (lockstep.c).
        self.ask("qmp_capabilities", enable=["oob"], within=within)

    def ask(self, command: str, *, within: float = 30.0, **arguments: Any) -> Any:
        """Run a command and return its answer.

        Underscores in argument names become dashes. Events that arrive meanwhile are kept.
        Raises :class:`~harness.errors.MicrovmError` for an error answer, a closed channel, or no
        answer within ``within`` seconds.
        """
        number = self.tell(command, **arguments)
        deadline = time.monotonic() + within
        while True:
            try:
                message = self._message(deadline)
            except TimeoutError as error:
                raise MicrovmError(
                    f"QEMU gave no answer to {command} within {within:g} s"
                ) from error
            if message.get("id") != number:
                continue  # an event, or the answer to a command sent without waiting
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise MicrovmError(f"QEMU refuses {command}: {message['error'].get('desc')}")

    def tell(self, command: str, **arguments: Any) -> int:
        """Send a command whose answer nobody waits for; returns the number that it bears."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        self._told += 1
        request = {"execute": command, "arguments": named, "id": self._told}
        try:
            self._channel.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise MicrovmError(f"QEMU does not take the command {command}: {error}") from error
        return self._told

    def wait_event(self, names: set[str], within: float) -> dict[str, Any] | None:
        """Return the first event in ``names``, seen or still to come; None when time is up."""
        deadline = time.monotonic() + within
        while True:
            for event in self.events:
                if event["event"] in names:
                    return event
            try:
                self._message(deadline)
            except TimeoutError:
                return None

    def take_event(self, names: set[str], within: float) -> dict[str, Any] | None:
        """As :meth:`wait_event`, and forget the event: the next call returns the next one."""
        event = self.wait_event(names, within)
        if event is not None:
            self.events.remove(event)
        return event

    def close(self) -> None:
        """Let go of the channel."""
        self._channel.close()

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            self._channel.settimeout(max(deadline - time.monotonic(), 0.0001))
            try:
                piece = self._channel.recv(65536)
            except TimeoutError:
                raise
            except OSError as error:
                raise MicrovmError(f"the connection to QEMU broke: {error}") from error
            if not piece:
                raise MicrovmError("QEMU closed its control channel")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        if "event" in message:
            self.events.append(message)
        return message
