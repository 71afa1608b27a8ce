"""The helper that looks at processes: what has ended is not running, however it is looked at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import proc_text, running, running_with, state_letter

from harness.wait import NotYet, wait_for


def test_a_process_runs_until_it_ends_and_not_as_a_zombie() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        assert running(process.pid)
        assert proc_text(process.pid, "comm").strip() in {"cat", Path(sys.executable).name}
        process.kill()
        wait_for(lambda: not running(process.pid) or NotYet("runs"), state="the end", within=20)
        assert state_letter(process.pid) == "Z", "nobody has reaped it yet"
    assert not running(process.pid)
    assert proc_text(process.pid, "comm") == ""


def test_one_that_ends_between_opening_and_reading_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says ESRCH then, and not ENOENT."""

    def ended(_path: Path) -> bytes:
        raise ProcessLookupError

    assert running(os.getpid())
    monkeypatch.setattr(Path, "read_bytes", ended)
    assert not running(os.getpid())


def test_processes_are_found_by_what_they_were_given() -> None:
    word = f"word-{os.getpid()}"
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, env={"WORD": word}) as process:
        # `exec` tells `Popen` that it went well before it says where the environment is.
        environ = Path(f"/proc/{process.pid}/environ")
        wait_for(
            lambda: word.encode() in environ.read_bytes() or NotYet("empty"),
            state="the environment",
            within=20,
        )
        assert list(running_with(word.encode())) == [process.pid]
        process.kill()
    assert list(running_with(word.encode())) == []
