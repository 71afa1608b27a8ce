"""A person in the guest: a shell on the serial console, or a script, among a lab's nodes.

The console speaks with ``harness.snapshots`` on the host in lines that begin as
``contract.SHELL_...`` say. ``SHELL_READY`` asks for a request, unless the inbox had one: one line
of JSON on the same console, ``node`` (a name, or null for the guest itself) and either ``script``
or ``terminal``. After ``SHELL_BEGINS`` the console is the person's terminal until the machine is
off. A script's output comes in lines instead, so that every byte of it arrives as it was.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import selectors
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import EXIT_TROUBLE, HarnessError
from harness.guest.contract import (
    LAB_LINK,
    SHELL_BEGINS,
    SHELL_READY,
    SHELL_STDERR,
    SHELL_STDOUT,
    SHELL_TROUBLE,
)
from harness.lab import Lab, NamespacesLab, Node
from harness.lab.dockerd import NAMESPACES, SOCKET, environment
from harness.swarm import Swarm
from harness.vm.guest_init import say

BY_HAND = ("inject", "heal", "status", "schedule")
"""Commands of ``swarm-chaos`` that a person has in a guest, by their own names."""

SERIAL = Path("/dev/ttyS0")
HOME = Path("/run/swarm-chaos-shell")
_PLAIN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TERMINFO = ("/usr/share/terminfo", "/lib/terminfo", "/etc/terminfo")
_KNOWN_TERMINAL = "xterm-256color"


def hand_over(lab: Lab, trial: Path) -> NoReturn:
    """In a trial: give the guest to a person in the state it is in, and end it after that.

    Says on the console how long the journal is and its sha256, so that the host can tell whether
    this is the trial that was recorded.
    """
    journal = (trial / "journal.jsonl").read_bytes()
    with _undisturbed():
        facts = {"bytes": len(journal), "sha256": hashlib.sha256(journal).hexdigest()}
        code = attend(lab, _ask(facts), home=trial, notes=[f"the trial's folder is {trial}"])
    os._exit(code)  # a trial that was looked into has no verdict


def converse(request: dict[str, Any] | None, notes: list[str]) -> int:
    """Serve a person, or the script in ``request``, in a guest thawed for it; the exit code."""
    with _undisturbed():
        lab = NamespacesLab.attach(Path(LAB_LINK).resolve())
        return attend(
            lab, _ask({}) if request is None else request, home=Path("/root"), notes=notes
        )


def attend(lab: Lab, request: dict[str, Any], *, home: Path, notes: list[str]) -> int:
    """Carry a request out among ``lab``'s nodes; return the shell's exit code."""
    home.mkdir(parents=True, exist_ok=True)
    Path("/proc/sys/kernel/printk").write_text("1")  # the console is a person's now
    write_helpers(lab, HOME / "bin")
    variables = {
        **os.environ,
        "PATH": f"{HOME / 'bin'}:{os.environ.get('PATH', _PLAIN_PATH)}",
        "HOME": "/root",
    }
    try:
        name = request.get("node")
        if name is not None:
            lab.node(name).here.pid  # noqa: B018 - asks whether it is there and switched on
        if (script := request.get("script")) is not None:
            return _run_script(str(script), name, home, variables)
    except HarnessError as error:
        say(f"{SHELL_TROUBLE}{json.dumps(str(error))}")
        return EXIT_TROUBLE
    return _on_terminal(request["terminal"], name, home, variables, banner(lab, notes))


# -- what a person finds -------------------------------------------------------------------------


def banner(lab: Lab, notes: list[str]) -> str:
    """Return what a person is shown first."""
    engines = sorted({node.engine.version for node in lab.nodes.values()})
    first = next(iter(lab.nodes))
    return "\n".join(
        [
            f"Docker Engine {', '.join(engines)} on {', '.join(lab.nodes)}; {_leadership(lab)}",
            *notes,
            "",
            f"  {first}                  a shell on node {first} (also: node {first})",
            f"  {first} docker node ls   one command there",
            "  node                which nodes there are",
            "  inject node-killed leader   inject a fault; also: status, heal, schedule",
            "  resize              after the window has changed its size",
            "",
            "Your keys come at moments that nothing repeats: this guest cannot be had again.",
            "exit ends it; Ctrl-] ends it at once, whatever hangs.",
            "",
        ]
    )


def _leadership(lab: Lab) -> str:
    try:
        return f"{Swarm(lab).leader.name} leads"
    except HarnessError as error:
        return f"nobody is known to lead ({error.what})"


def write_helpers(lab: Lab, folder: Path) -> None:
    """Programs to enter nodes with: one by each node's name, and ``node NAME``.

    And the manual fault commands, which are the host's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = lab.describe()
    for node in lab.nodes.values():
        _write_program(folder / node.name, enter_script(node, facts))
    _write_program(folder / "node", _node_script(list(lab.nodes), folder))
    for command in BY_HAND:
        words = shlex.join([sys.executable, "-m", "harness.cli.main", command])
        _write_program(folder / command, f'exec {words} "$@"\n')
    (HOME / "rc").write_text(_RC)


def enter_script(node: Node, facts: Path) -> str:
    """Return a shell script that runs its arguments on a node, or a shell without any.

    Which process is the node's first it reads in ``facts``, the lab's description: a node that was
    killed and healed by hand has another one.
    """
    variables = {**environment(node.engine), "DOCKER_HOST": f"unix://{SOCKET}"}
    words = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    find = f'/^  "{node.name}": {{/,/^  }}/s/^   "pid": \\([0-9]*\\),*$/\\1/p'
    enter = shlex.join(
        [
            shutil.which("nsenter") or "/usr/bin/nsenter",
            *(f"--{namespace}" for namespace in NAMESPACES),
        ]
    )
    return "\n".join(
        [
            f"pid=$(sed -n {shlex.quote(find)} {shlex.quote(str(facts))})",
            f'[ -n "$pid" ] && [ -d "/proc/$pid" ] || '
            f"{{ echo '{node.name} is switched off' >&2; exit 1; }}",
            "if [ $# = 0 ]; then",
            "    set -- /bin/sh -i",
            '    [ ! -e "/proc/$pid/root/bin/bash" ] ||',
            "        set -- /bin/bash --noprofile --norc -i",
            "fi",
            f"exec env -i TERM=\"$TERM\" PS1='{node.name}:\\w# ' {' '.join(words)} \\",
            f'    {enter} --target="$pid" -- "$@"',
            "",
        ]
    )


def _node_script(names: list[str], folder: Path) -> str:
    return "\n".join(
        [
            f'[ $# -gt 0 ] || {{ echo "{" ".join(names)}"; exit 0; }}',
            f'case " {" ".join(names)} " in',
            f'*" $1 "*) name=$1; shift; exec "{folder}/$name" "$@" ;;',
            f'*) echo "there is no node $1; there are: {" ".join(names)}" >&2; exit 64 ;;',
            "esac",
            "",
        ]
    )


def _write_program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}")
    path.chmod(0o755)


#: A serial line carries no news of the window: the terminal itself is asked where its corner is.
_RC = r"""
PS1='guest:\w# '
HISTFILE=
resize() {
    local saved row column
    saved=$(stty -g)
    stty raw -echo
    printf '\0337\033[9999;9999H\033[6n\0338'
    IFS='[;' read -r -t 10 -d R _ row column
    stty "$saved"
    [ -n "$column" ] || { echo "this terminal does not tell its size" >&2; return 1; }
    stty rows "$row" cols "$column"
}
"""


# -- the console ---------------------------------------------------------------------------------


def _ask(facts: dict[str, Any]) -> dict[str, Any]:
    """Ask the host for its request: one line of JSON."""
    line = b""
    descriptor = os.open(SERIAL, os.O_RDWR | os.O_NOCTTY)
    try:
        before = termios.tcgetattr(descriptor)
        silent = termios.tcgetattr(descriptor)
        silent[0] = 0
        silent[3] = 0
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
        say(f"{SHELL_READY}{json.dumps(facts)}")
        while not line.endswith(b"\n"):
            line += os.read(descriptor, 4096)
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
    finally:
        os.close(descriptor)
    request: dict[str, Any] = json.loads(line)
    return request


def _on_terminal(
    terminal: dict[str, Any], node: str | None, home: Path, variables: dict[str, str], greeting: str
) -> int:
    """Run a shell with job control on the serial line; return its exit code."""
    shell = ["bash", "--rcfile", str(HOME / "rc"), "-i"] if node is None else [HOME / "bin" / node]
    with SERIAL.open("r+b", buffering=0) as line:
        _set_up(line.fileno(), int(terminal["rows"]), int(terminal["columns"]))
        say(SHELL_BEGINS)
        line.write(greeting.encode())
        code = subprocess.run(
            ["setsid", "--ctty", "--wait", *shell],  # the line is its controlling terminal
            stdin=line,
            stdout=line,
            stderr=line,
            cwd=home,
            env={**variables, "TERM": _terminal_type(str(terminal["type"]))},
            check=False,
        ).returncode
    return code if code >= 0 else 128 - code


def _set_up(descriptor: int, rows: int, columns: int) -> None:
    """A terminal as a login would find it, of the given size."""
    subprocess.run(["stty", "sane", "115200"], stdin=descriptor, check=True)
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _terminal_type(name: str) -> str:
    """``name`` if this Debian knows it, else one that nearly every terminal understands."""
    known = name and "/" not in name
    if known and any(Path(place, name[0], name).exists() for place in _TERMINFO):
        return name
    return _KNOWN_TERMINAL


def _run_script(script: str, node: str | None, home: Path, variables: dict[str, str]) -> int:
    """Run a script of bash to its end, its output going to the host as it comes."""
    body = HOME / "script"
    body.write_text(script)
    with body.open("rb") as opened:
        # By its descriptor it can be read on a node too, which has other files.
        shell = ["bash", f"/proc/self/fd/{opened.fileno()}"]
        process = subprocess.Popen(
            shell if node is None else [str(HOME / "bin" / node), *shell],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[opened.fileno()],
            cwd=home,
            env={**variables, "TERM": "dumb"},
        )
    _relay(process)
    code = process.wait()
    return code if code >= 0 else 128 - code


def _relay(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ, SHELL_STDOUT)
        waiting.register(process.stderr, selectors.EVENT_READ, SHELL_STDERR)
        while waiting.get_map():
            for key, _ in waiting.select():
                if piece := os.read(key.fd, 3072):
                    say(f"{key.data}{base64.b64encode(piece).decode()}")
                else:
                    waiting.unregister(key.fileobj)
    process.stdout.close()
    process.stderr.close()


# -- the supervisor ------------------------------------------------------------------------------


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Stop this process's supervisor: no deadline, and nothing of it on the console.

    It goes on when this process has ended, woken by a child that waits for just that: were it
    woken before, it could find the deadline past and the process still there.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    watched = os.pidfd_open(os.getpid())
    supervisor = os.getppid()
    subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _WAKE, str(watched), str(supervisor)],
        pass_fds=[watched],
        stdin=subprocess.DEVNULL,
    )
    os.kill(supervisor, signal.SIGSTOP)
    yield


_WAKE = """
import os, select, signal, sys
select.select([int(sys.argv[1])], [], [])
os.kill(int(sys.argv[2]), signal.SIGCONT)
"""
