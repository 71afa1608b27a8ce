"""Running programs inside nodes and client hosts: command lines, and what came of them."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import LabError

#: Joins a cgroup of each hierarchy, then becomes the command. The groups come first, ended by
#: "--"; "0" is the writer itself, whatever pid namespace it is in. What cannot join must not
#: run: when a lab is going away, nobody would find it to end it.
_JOIN = (
    'while [ "$1" != -- ]; do echo 0 >"$1/cgroup.procs" || exit 125; shift; done; shift; exec "$@"'
)


@dataclass(frozen=True)
class Completed:
    """A program that ended: ``code`` as of a shell (128 + signal when killed by one)."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text, without the last newline."""
        return self.stdout.decode(errors="replace").rstrip("\n")

    def check(self, where: str) -> Completed:
        """Itself, if the program ended with 0; :class:`LabError` with its own message if not."""
        if self.code == 0:
            return self
        said = self.stderr.decode(errors="replace").strip() or self.text
        raise LabError(f"on {where}, `{shlex.join(self.argv)}` ended with {self.code}: {said}")


def joining(groups: Sequence[Path], argv: Sequence[str]) -> list[str]:
    """Return a command line that runs ``argv`` as a member of the cgroups given."""
    if not groups:
        return list(argv)
    return ["/bin/sh", "-c", _JOIN, "sh", *map(str, groups), "--", *argv]


def entering(pid: int, namespaces: Sequence[str], argv: Sequence[str]) -> list[str]:
    """Return a command line that runs ``argv`` in namespaces of process ``pid`` (host's count)."""
    flags = [f"--{namespace}" for namespace in namespaces]
    return ["nsenter", f"--target={pid}", *flags, "--", *argv]


def complete(
    argv: Sequence[str],
    *,
    shown: Sequence[str],
    where: str,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Completed:
    """Run a command line to its end. ``shown`` is what the caller asked for, for messages.

    Raises :class:`LabError` when it does not end within ``timeout`` seconds or cannot start.
    """
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, env=env, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(
            f"on {where}, `{shlex.join(shown)}` did not end within {timeout:g} s"
        ) from error
    except OSError as error:
        raise LabError(f"on {where}, cannot run {argv[0]}: {error.strerror}") from error
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return Completed(tuple(shown), code, done.stdout, done.stderr)
