"""The janitor: a small process that owns a lab and cleans up after it.

Run as a script with the interpreter's own library alone::

    unshare --mount --propagation private python -I -S janitor.py LAB_DIR LAB_ID

It makes the lab's folder, mounts the cgroup hierarchies of the lab in a mount namespace of its
own, starts the *keeper* (process 1 of the lab's pid namespace, whose network namespace is the
fabric), prints ``ready KEEPER_PID`` (or ``failed REASON``) and then reads standard input. The
janitor makes the folder, so that nothing of a lab exists before there is someone to remove it.

When standard input ends, however the process that built the lab died, it kills the keeper, and
with it, by the kernel's own rule, every process of every node; then it removes the cgroups and the
lab's folder.
Mounts, links, rules and namespaces die with the processes that held them. Nodes that are
containers are another engine's to remove: the lab has told the janitor whose, by a line
``containers SOCKET`` on its standard input. If the janitor itself
is killed, the keeper goes too (parent-death signal) and only files and empty cgroups are left
for ``swarm-chaos clean``.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

CGROUP_ROOT = "swarm-chaos"

#: Has the lab's id on each container that is a node.
LABEL = "swarm-chaos.lab"

#: Seconds for the engine to answer; removing a container whose processes are dead takes tenths.
_ENGINE_ANSWERS_WITHIN = 30.0
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel for a SIGKILL when the parent dies (for a child before its exec)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def hierarchies() -> list[str]:
    """Return the version 1 hierarchies that the kernel has in use, each as its mount option.

    Only those: mounting an unused controller would take it away from version 2. Named ones, which
    have no controller, too: containerd 1.2 and 1.3 want to find each that a process is a member of.
    """
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, _ = line.split(":", 2)
        if controllers:
            found.append(controllers)
    return found


def mount_cgroups(lab: Path, lab_id: str) -> list[Path]:
    """Mount the cgroup hierarchies below the lab's folder; returns the lab's groups in them.

    The unified hierarchy can be mounted on every kernel since 4.5; where the host gives its
    controllers to version 1, it has none and is still enough to run containers.
    """
    groups = []
    wanted = [("v2", "cgroup2", ""), *((f"v1/{name}", "cgroup", name) for name in hierarchies())]
    for name, kind, options in wanted:
        at = lab / "cgroup" / name
        at.mkdir(parents=True)
        command = ["mount", "-t", kind, *(["-o", options] if options else []), "none", str(at)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            at.rmdir()
            continue
        group = make_group(at / CGROUP_ROOT / lab_id)
        for each in (at, group.parent, group):
            delegate(each) if kind == "cgroup2" else inherit_cpuset(each)
        groups.append(group)
    return groups


def make_group(group: Path) -> Path:
    """Make a lab's cgroup; the parent of all labs' cgroups may be being removed meanwhile."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            group.mkdir(parents=True, exist_ok=True)
            return group


def inherit_cpuset(group: Path) -> None:
    """Fill a new version 1 cpuset, which takes no process while it is empty."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        with contextlib.suppress(OSError):
            if not (group / name).read_text().strip():
                (group / name).write_text((group.parent / name).read_text())


def delegate(group: Path) -> None:
    """Switch on for a group's children every controller that it has, as far as it can be."""
    with contextlib.suppress(OSError):
        for name in (group / "cgroup.controllers").read_text().split():
            with contextlib.suppress(OSError):
                (group / "cgroup.subtree_control").write_text(f"+{name}")


def kill_group(group: Path) -> None:
    """Kill every process in a group and below; groups may go while this looks."""
    for folder, _, _ in os.walk(group):
        with contextlib.suppress(OSError):
            for pid in Path(folder, "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    if int(pid) not in (0, os.getpid()):
                        os.kill(int(pid), signal.SIGKILL)


def remove_group(group: Path, seconds: float = 10.0) -> bool:
    """Kill what is in a cgroup and remove it, depth first; return whether it is gone."""
    give_up = time.monotonic() + seconds
    while group.is_dir():
        kill_group(group)
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        if time.monotonic() > give_up:
            return False
        if group.is_dir():
            time.sleep(0.02)
    return True


def ask_engine(socket_path: str, method: str, path: str) -> bytes:
    """Put one request to an engine and return the body of its answer; ``OSError`` without one."""
    import http.client  # imported when needed: few labs have containers, and each starts a janitor
    import socket

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(socket_path)

    connection = Connection("localhost", timeout=_ENGINE_ANSWERS_WITHIN)
    try:
        connection.request(method, path)
        return connection.getresponse().read()
    except http.client.HTTPException as error:
        raise OSError(f"the engine at {socket_path} does not speak HTTP: {error}") from error
    finally:
        connection.close()


def containers(socket_path: str) -> dict[str, str]:
    """Return the lab of each of an engine's containers that is a node, dead or alive, by its id."""
    import json
    from urllib.parse import quote

    wanted = quote(json.dumps({"label": [LABEL]}))
    found = json.loads(ask_engine(socket_path, "GET", f"/containers/json?all=1&filters={wanted}"))
    if not isinstance(found, list):
        raise OSError(f"the engine at {socket_path} lists no containers: {found}")
    return {each["Id"]: each["Labels"][LABEL] for each in found}


def remove_container(socket_path: str, container: str) -> None:
    """Remove a container, running or not, and its anonymous volumes."""
    ask_engine(socket_path, "DELETE", f"/containers/{container}?force=1&v=1")


def remove_containers(socket_path: str, lab_id: str) -> bool:
    """Remove a lab's containers from the engine that ran them; return whether none is left."""
    from concurrent.futures import ThreadPoolExecutor

    try:
        with ThreadPoolExecutor(8) as pool:
            for container, lab in containers(socket_path).items():
                if lab == lab_id:
                    pool.submit(remove_container, socket_path, container)
        return lab_id not in containers(socket_path).values()
    except (OSError, ValueError):
        return False


def start_keeper() -> subprocess.Popen[bytes]:
    """Start the lab's process 1: `cat` on our pipe, ignoring SIGCHLD so that orphans are reaped."""
    return subprocess.Popen(
        [
            *("unshare", "--pid", "--net", "--fork", "--kill-child", "--"),
            *("env", "--ignore-signal=CHLD,INT,TERM,HUP", "cat"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )


def child_of(pid: int, seconds: float = 10.0) -> int:
    """Wait for the first child of a process and return its pid."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        with contextlib.suppress(OSError):
            if children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                return int(children[0])
        time.sleep(0.002)
    raise TimeoutError("the keeper did not start")


def make_folder(lab: Path) -> None:
    """Make the lab's folder and lock it; what goes wrong from now on is written to its log."""
    lab.mkdir(mode=0o700)
    (lab / "nodes").mkdir()
    lock = os.open(lab / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # `clean` takes a lab whose lock is free for abandoned
    log = os.open(lab / "janitor.log", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    os.dup2(log, sys.stderr.fileno())


def main(lab: Path, lab_id: str) -> int:
    """Own the lab until standard input ends."""
    os.setsid()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    groups: list[Path] = []
    keeper = None
    keep = False
    engine = ""
    try:
        make_folder(lab)
        groups = mount_cgroups(lab, lab_id)
        keeper = start_keeper()
        print(f"ready {child_of(keeper.pid)}", flush=True)
        while line := sys.stdin.buffer.readline():
            word, _, value = line.decode().rstrip("\n").partition(" ")
            keep = keep or word == "keep"
            engine = value if word == "containers" else engine
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        with contextlib.suppress(OSError):  # nobody may be listening any more
            print(f"failed {where}{error.strerror or error}", flush=True)
    finally:
        if keeper is not None:
            keeper.kill()  # its child has --kill-child's parent-death signal
        for group in groups:
            kill_group(group)
        if keeper is not None:
            keeper.wait()
        left = [] if not engine or remove_containers(engine, lab_id) else [lab]
        left += [group for group in groups if not remove_group(group)]
        for group in groups:
            with contextlib.suppress(OSError):  # other labs may be in it
                group.parent.rmdir()
        # Only the mounts themselves: below them groups of others come and go.
        for at in (lab / "cgroup" / "v2", *(lab / "cgroup").glob("v1/*")):
            subprocess.run(["umount", "-l", str(at)], capture_output=True, check=False)
        if not keep and not left:
            shutil.rmtree(lab, ignore_errors=True)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
