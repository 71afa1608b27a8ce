"""The host's side of a visit: requests, what the guest says, the terminal, what is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pty
import socket
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import LabError, TrialError, UsageError
from harness.guest.contract import (
    HOLD_VARIABLE,
    SHELL_READY,
    SHELL_STDERR,
    SHELL_STDOUT,
    SHELL_TROUBLE,
)
from harness.lab import Topology
from harness.snapshots.terminal import ESCAPE, Terminal, pump, raw
from harness.snapshots.visit import Conversation, ShellRequest, encode, judge
from harness.snapshots.visit_target import check_node, held


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a guest's console: ours, and the guest's."""
    ours, guest = socket.socketpair()
    with ours, guest:
        yield ours, guest


def talk(
    line: tuple[socket.socket, socket.socket], said: bytes, request: ShellRequest | None = None
) -> tuple[bool, list[str]]:
    """What a guest that says ``said`` and ends brings about: answer, and lines of progress."""
    ours, guest = line
    guest.sendall(said)
    guest.shutdown(socket.SHUT_WR)
    lines: list[Any] = []
    ended = Conversation(ours, lines.append).carry_out(request or ShellRequest(script="true"))
    return ended, lines


def test_a_scripts_output_arrives_as_it_was(
    line: tuple[socket.socket, socket.socket], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    content = bytes(range(256))
    words = [
        (SHELL_STDOUT, content),
        (SHELL_STDERR, b"careful\n"),
        (SHELL_STDOUT, b"end"),
    ]
    said = b"microvm: run starts\r\n" + b"".join(
        word.encode() + base64.b64encode(piece) + b"\r\n" for word, piece in words
    )
    assert talk(line, said) == (True, [])
    assert capfdbinary.readouterr() == (content + b"end", b"careful\n")


def test_the_order_is_given_when_it_is_asked_for(line: tuple[socket.socket, socket.socket]) -> None:
    request = ShellRequest("m1", script="docker node ls")
    talk(line, f"trial: 1 s\r\n{SHELL_READY}{{}}\r\n".encode(), request)
    assert json.loads(line[1].recv(4096)) == {"node": "m1", "script": "docker node ls"}


def test_progress_is_passed_on(line: tuple[socket.socket, socket.socket]) -> None:
    assert talk(line, b"trial: m1 leads\r\nkernel: chatter\r\n") == (True, ["m1 leads"])


def test_a_node_that_cannot_be_entered_is_said_in_words(
    line: tuple[socket.socket, socket.socket],
) -> None:
    with pytest.raises(LabError, match="m1 is switched off"):
        talk(line, f'{SHELL_TROUBLE}"m1 is switched off"\r\n'.encode())


def test_a_script_too_long_to_be_typed_is_refused() -> None:
    with pytest.raises(UsageError, match="too long"):
        encode(ShellRequest(script="x" * (33 << 10)))


def test_a_terminal_is_told_with_its_size() -> None:
    request = ShellRequest(terminal=Terminal("xterm", 31, 97))
    told = json.loads(encode(request))
    assert told == {"terminal": {"type": "xterm", "rows": 31, "columns": 97}}


def test_the_escape_ends_it_and_what_came_before_is_still_typed(
    line: tuple[socket.socket, socket.socket],
) -> None:
    keys, typed = os.pipe()
    os.write(typed, b"ls\r" + ESCAPE + b"never")
    assert pump(line[0], keys, typed) is False
    assert line[1].recv(100) == b"ls\r"
    os.close(keys)
    os.close(typed)


def test_the_guests_end_ends_it(line: tuple[socket.socket, socket.socket]) -> None:
    keys, typed = os.pipe()
    shown, screen = os.pipe()
    line[1].sendall(b"bye")
    line[1].close()
    assert pump(line[0], keys, screen) is True
    assert os.read(shown, 10) == b"bye"
    for descriptor in (keys, typed, shown, screen):
        os.close(descriptor)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, SystemExit])
def test_the_terminal_is_as_it_was_whatever_happens(
    error: type[KeyboardInterrupt | SystemExit] | None,
) -> None:
    master, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)

    def use() -> None:
        with raw(terminal):
            assert not termios.tcgetattr(terminal)[3] & (termios.ECHO | termios.ISIG)
            if error is not None:
                raise error

    if error is None:
        use()
    else:
        with pytest.raises(error):
            use()
    assert termios.tcgetattr(terminal) == before
    os.close(master)
    os.close(terminal)


def test_a_held_trial_is_told_from_another(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(b"one\ntwo\n")
    assert "beware" in judge(journal, 4, hashlib.sha256(b"two\n").hexdigest())
    assert "byte-identical" in judge(journal, 4, hashlib.sha256(b"one\n").hexdigest())


def test_only_a_trial_that_can_stop_is_held() -> None:
    assert held({HOLD_VARIABLE: "0", "A": "b"}, Path("t")) == {HOLD_VARIABLE: "1", "A": "b"}
    with pytest.raises(TrialError, match="cannot stop"):
        held({"A": "b"}, Path("t"))


def test_a_node_that_is_not_there_is_refused_before_anything_is_thawed() -> None:
    check_node("w1", Topology(1, 1))
    check_node(None, Topology())
    with pytest.raises(UsageError, match="w2"):
        check_node("w2", Topology(1, 1))
