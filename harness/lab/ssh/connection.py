"""One connection to a machine by OpenSSH: commands, files and a forwarded socket share it.

The master of the connection runs ``cat`` there. When this process ends, however it does, the
pipe to it ends, and with it the connection and all that uses it.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.errors import LabError, MissingError
from harness.lab.nsenter import Completed
from harness.lab.ssh.inventory import MachineSpec
from harness.lab.ssh.runner import Ended, Runner
from harness.wait import Deadline

_RUNNER = Path(__file__).with_name("onboard") / "runner.py"

#: Seconds for a machine to let us in.
_CONNECTED_WITHIN = 30.0

#: ssh's own exit status for trouble of its own.
_SSH_FAILED = 255

_OPTIONS = {
    "BatchMode": "yes",  # nobody is there to answer a question
    "ConnectTimeout": "10",
    "StrictHostKeyChecking": "yes",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "RequestTTY": "no",
}

#: What ssh says, what that means, and what helps.
_COMPLAINTS = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one that is known: it is another machine, or somebody is between",
        "if it was installed anew: ssh-keygen -R {address}, then connect once by hand",
    ),
    (
        "Host key verification failed",
        "its host key is not known",
        "connect once by hand, or name a file of keys: known-hosts = ...",
    ),
    (
        "Permission denied",
        "it refuses the key of this user",
        "name the key: key = ..., or put the public one into its authorized_keys",
    ),
    ("Could not resolve hostname", "nobody knows this name", "write another address"),
    ("UNPROTECTED PRIVATE KEY", "ssh refuses a key that others may read", "chmod 600 the key"),
)


class Connection:
    """Open when made; ``control`` is where ssh may put the socket that its clients share."""

    def __init__(self, spec: MachineSpec, control: Path) -> None:
        self.spec = spec
        self._control = control
        self._sudo: tuple[str, ...] = ()
        self._runner: Runner | None = None
        self._master = self._open()
        self.group = 0
        """The group of its user, who has to be let in at the API's socket."""

    @property
    def name(self) -> str:
        """The machine's name in the inventory."""
        return self.spec.name

    def become_root(self) -> None:
        """Run every command as root; :class:`LabError` if this user may not."""
        if self._sudo:
            return  # and whoever is asked now is root
        self.group = int(self.run(["id", "-g"]).text)
        if self.run(["id", "-u"]).text == "0":
            return
        self._sudo = ("sudo", "-n", "--")
        done = self.run(["true"], check=False)
        if done.code != 0:
            raise LabError(
                f"machine {self.name}: its user is not root, and sudo wants a password or refuses",
                hint="name another user, or give this one NOPASSWD in sudoers",
            )

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float | None = 60.0,
        check: bool = True,
    ) -> Completed:
        """Run a program on the machine to its end, within ``timeout`` seconds."""
        if self._runner is not None:
            ended = self._runner.run(argv, stdin, timeout)
        else:
            ended = self._run_once(argv, stdin, timeout)
        if ended.code is None:
            raise LabError(
                f"on machine {self.name}, `{_shown(argv)}` did not end within {timeout:g} s"
            )
        completed = Completed((_shown(argv),), ended.code, ended.stdout, ended.stderr)
        return completed.check(f"machine {self.name}") if check else completed

    def keep_runner(self) -> None:
        """Have what is run from now on share one session there, which needs python3."""
        if self._runner is None:
            argv = ["python3", "-I", "-S", "-c", _RUNNER.read_text()]
            process = self.popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._runner = Runner(process, self.name)

    def popen(self, argv: Sequence[str], **popen: object) -> subprocess.Popen[bytes]:
        """Start a program on the machine; the end of the connection need not end it."""
        return subprocess.Popen(self.command(argv), **popen)  # type: ignore[call-overload,no-any-return]

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command line of this side that runs ``argv`` on the machine."""
        # By the open connection or not at all: ssh would open another one without a word.
        there = shlex.join([*self._sudo, *argv])
        return [*self._ssh(), "-o", "ProxyCommand=false", "--", self.spec.address, there]

    def forward(self, local: Path, remote: str) -> None:
        """Have connections to a unix socket of this side come out at one of the machine."""
        done = subprocess.run(
            [
                *self._ssh(clear=False),
                *("-o", "StreamLocalBindUnlink=yes", "-o", "StreamLocalBindMask=0177"),
                *("-O", "forward", "-L", f"{local}:{remote}", "--", self.spec.address),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise LabError(f"machine {self.name} does not forward its API's socket: {said}")

    @property
    def alive(self) -> bool:
        """Whether the connection stands."""
        return self._master.poll() is None

    def close(self) -> None:
        """End the connection; safe to call twice."""
        if self._runner is not None:
            self._runner.close()
        if self._master.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._master.stdin.close()
        try:
            self._master.wait(5)
        except subprocess.TimeoutExpired:
            self._master.kill()
            self._master.wait()
        if self._master.stdout is not None:
            self._master.stdout.close()

    # -- within --------------------------------------------------------------------------------

    def _run_once(self, argv: Sequence[str], stdin: bytes | None, timeout: float | None) -> Ended:
        try:
            done = subprocess.run(
                self.command(argv),
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Ended(None, b"", b"")
        if done.returncode == _SSH_FAILED and not self.alive:
            raise LabError(f"the connection to machine {self.name} is lost")
        return Ended(done.returncode, done.stdout, done.stderr)

    def _open(self) -> subprocess.Popen[bytes]:
        # It complains whenever a dockerd that is down is asked: into a file, a pipe would fill up.
        complaints = Path(f"{self._control}.log")
        argv = [
            *self._ssh(clear=False),
            *("-M", "--", self.spec.address, "echo ready; exec cat >/dev/null"),
        ]
        try:
            with complaints.open("wb") as log:
                master = subprocess.Popen(
                    argv,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    # A Ctrl-C is for us: the machine must first be left as it was.
                    start_new_session=True,
                )
        except FileNotFoundError as error:
            raise MissingError(
                "the ssh lab needs ssh, which is not on this machine",
                hint="apt-get install openssh-client",
            ) from error
        assert master.stdout is not None
        deadline, said = Deadline(_CONNECTED_WITHIN), b""
        while b"ready\n" not in said and not deadline.expired:
            readable, _, _ = select.select([master.stdout], [], [], deadline.remaining)
            if not readable or not (chunk := os.read(master.stdout.fileno(), 4096)):
                break
            said += chunk
        if b"ready\n" in said:
            return master
        master.kill()
        master.wait()
        for pipe in (master.stdin, master.stdout):
            if pipe is not None:
                pipe.close()
        raise refusal(self.spec, complaints.read_text(errors="replace").strip())

    def _ssh(self, *, clear: bool = True) -> list[str]:
        spec = self.spec
        options = {**_OPTIONS, "ControlPath": str(self._control)}
        if not clear:
            del options["ClearAllForwardings"]
        if spec.user is not None:
            options["User"] = spec.user
        if spec.port is not None:
            options["Port"] = str(spec.port)
        if spec.key is not None:
            options |= {"IdentityFile": str(spec.key), "IdentitiesOnly": "yes"}
        if spec.known_hosts is not None:
            options |= {"UserKnownHostsFile": str(spec.known_hosts), "GlobalKnownHostsFile": "none"}
        return [
            "ssh",
            *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
        ]


def refusal(spec: MachineSpec, complaint: str) -> LabError:
    """Return what it means that ssh ended with this complaint."""
    where = f"machine {spec.name} ({spec.address}"
    where += f" port {spec.port})" if spec.port is not None else ")"
    for words, meaning, hint in _COMPLAINTS:
        if words in complaint:
            return LabError(f"{where}: {meaning}", hint=hint.format(address=spec.address))
    last = complaint.splitlines()[-1] if complaint else "no answer"
    return LabError(f"{where} cannot be reached: {last}")


def _shown(argv: Sequence[str]) -> str:
    text = shlex.join(argv)
    return text if len(text) <= 200 else f"{text[:200]}…"
