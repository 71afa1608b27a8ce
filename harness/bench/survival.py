"""Chaos on the harness itself: commands that are struck down at a random moment.

Each attempt draws a command, something that befalls it, and when: a kill, a signal, a stop, a full
disk, a limit on its memory, a flipped bit in its cache. Afterwards nothing may be left that
``swarm-chaos clean`` does not find, no command may hang or end in a traceback, and no trial may
have a verdict that it would not have had undisturbed, other than unknown.

Attempts need root: each has a mount namespace of its own, in which the cache is an overlay.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import MissingError
from harness.images import Cache, Say, silent
from harness.probes.sampling.heartbeat import MOST
from harness.wait import NotYet, time_until

#: Commands by name; ``{reports}`` and ``{run}`` are an attempt's own and an earlier run.
COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", "--lab", "namespaces", "-k", "port_taken", "--reports", "{reports}"),
    "report": ("report", "{run}"),
    "check": ("results", "check", "{run}"),
    "export": ("results", "export", "{run}", "--to", "{reports}/run.tar.gz"),
    "engines": ("engines", "--verify"),
    "snapshots": ("snapshots", "--json"),
}

#: How much more often a run is drawn than each other command.
_RUNS = 5

_MARK = "SWARM_CHAOS_SURVIVAL"
_GONE_WITHIN = 30.0
"""Seconds that a command, and all that it has started, gets to end after what befell it: the
longest that was seen is 6.4 s, on a machine that was not busy."""

_REPAIRED_WITHIN = 600.0
"""Seconds more for a command in whose cache a bit was flipped: an engine is built anew then,
half a minute's work on a machine that does nothing else, and from packages if need be."""

_STOPPED = 8.0  # seconds; more than the longest hole that is no doubt
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)|INTERNALERROR")

#: In a mount namespace of its own: the cache as an overlay, the reports on a disk of some size.
_PLACE = """
set -e
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/cache"
[ "$3" = 0 ] || mount -t tmpfs -o "size=$3" none "$2/reports"
[ -z "$4" ] || echo $$ >"$4/cgroup.procs"
shift 4
exec "$@"
"""


@dataclass(frozen=True)
class Attempt:
    """One attempt; ``seconds`` is when it happened. What follows ``code`` is empty if all is well.

    ``left``: what ``clean`` does not find. ``wrong``: trials with a verdict that cannot be.
    """

    number: int
    command: str
    strike: str
    seconds: float
    code: int | None
    left: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    trouble: str = ""
    log: str = ""

    @property
    def survived(self) -> bool:
        """Whether nothing was left, wrong, or in trouble."""
        return not (self.left or self.wrong or self.trouble)


@dataclass
class Running:
    """A command on its way, in folders of its own."""

    process: subprocess.Popen[bytes]
    place: Path
    chance: random.Random

    def signal(self, number: int) -> None:
        """Send a signal to its process group, as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def stop_and_go(self) -> None:
        """Stop it for longer than a measure may miss."""
        self.signal(signal.SIGSTOP)
        time.sleep(_STOPPED)
        self.signal(signal.SIGCONT)

    def flip(self) -> None:
        """Flip a bit of a file in its cache."""
        merged = Path(f"/proc/{self.process.pid}/root{self.place}/cache")
        with contextlib.suppress(OSError):
            files = [path for path in sorted(merged.glob("*/*/*")) if path.is_file()]
            path = self.chance.choice([path for path in files if path.stat().st_size] or [merged])
            with path.open("r+b") as file:
                file.seek(self.chance.randrange(path.stat().st_size))
                [byte] = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte ^ 1 << self.chance.randrange(8)]))


#: What befalls a command while it runs.
STRIKES: dict[str, Callable[[Running], None]] = {
    "kill -9": lambda running: running.signal(signal.SIGKILL),
    "TERM": lambda running: running.signal(signal.SIGTERM),
    "HUP": lambda running: running.signal(signal.SIGHUP),
    "STOP, CONT": Running.stop_and_go,
    "cache flip": Running.flip,
}

#: What is so from its start.
CONDITIONS = ("disk full", "memory limit")


@dataclass
class Survival:
    """Makes attempts, numbered from 0; the same seed draws the same ones."""

    seed: int
    cache: Cache
    say: Say = silent
    keep: Path | None = None
    _needed: dict[str, float] = field(default_factory=dict)
    _run: Path | None = None

    def attempts(self, tries: int, budget: float, *, first: int = 0) -> Iterator[Attempt]:
        """Yield at most ``tries`` attempts from number ``first``, none begun after ``budget`` s.

        Raises :class:`MissingError` without root, and if a command fails that nothing befalls.
        """
        if os.geteuid() != 0:
            raise MissingError("survival needs root: attempts have mounts of their own")
        ends = time.monotonic() + budget
        with tempfile.TemporaryDirectory(prefix="swarm-chaos-survival-") as folder:
            home = Path(folder)
            self._run = self._undisturbed(home, "run")
            for number in range(first, first + tries):
                if time.monotonic() > ends:
                    return
                yield self._attempt(number, home)

    def _undisturbed(self, home: Path, command: str) -> Path:
        """Run a command that nothing befalls; note how long it takes and return its run."""
        if command not in self._needed:
            place = _made(home / f"calm-{command}")
            began = time.monotonic()
            running = self._start(command, place, f"calm-{command}", random.Random(0))
            code = running.process.wait()
            self._needed[command] = time.monotonic() - began
            if code != 0:
                said = (place / "log").read_text(errors="replace")[-2000:]
                raise MissingError(f"`{command}` fails undisturbed, with {code}: {said}")
        return next(iter((home / "calm-run/reports").glob("2*")))

    def _attempt(self, number: int, home: Path) -> Attempt:
        chance = random.Random(f"{self.seed}/{number}")
        command = chance.choice([*COMMANDS, *["run"] * _RUNS])
        strike = chance.choice([*STRIKES, *CONDITIONS])
        self._undisturbed(home, command)
        place = _made(home / str(number))
        mark = f"{os.getpid()}-{number}"
        at = round(chance.uniform(0, self._needed[command]), 2)
        self.say(f"attempt {number}: {command}, {strike} at {at:.1f} s")
        with contextlib.ExitStack() as stack:
            group = ""
            disk = "0"
            if strike == "disk full":
                disk = str(chance.choice((4, 64, 256, 1024)) << 10)
            if strike == "memory limit":
                limit = chance.randrange(60, 400) << 20
                group = str(stack.enter_context(memory_group(mark, limit)))
            running = self._start(command, place, mark, chance, disk=disk, group=group)
            stack.callback(running.signal, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(at)
            labs = [lab.name for lab in (place / "labs").glob("*")]
            if act := STRIKES.get(strike):
                act(running)
            return self._judged(Attempt(number, command, strike, at, None), running, mark, labs)

    def _start(
        self,
        command: str,
        place: Path,
        mark: str,
        chance: random.Random,
        *,
        disk: str = "0",
        group: str = "",
    ) -> Running:
        run = str(self._run) if self._run else ""
        words = [word.format(reports=place / "reports", run=run) for word in COMMANDS[command]]
        argv = [
            *("unshare", "--mount", "--propagation", "private", "--", "sh", "-c", _PLACE, "sh"),
            *(str(self.cache.root), str(place), disk, group),
            *(sys.executable, "-m", "harness.cli.main", *words),
        ]
        environment = {
            **os.environ,
            _MARK: mark,
            "SWARM_CHAOS_CACHE": str(place / "cache"),
            "SWARM_CHAOS_LABS": str(place / "labs"),
            "TMPDIR": str(place / "tmp"),
        }
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return Running(process, place, chance)

    def _judged(
        self, attempt: Attempt, running: Running, mark: str, labs: Sequence[str]
    ) -> Attempt:
        """Return the attempt with what came of it."""
        trouble = ""
        within = self._needed[attempt.command] * 3 + _GONE_WITHIN
        if attempt.strike == "cache flip":
            within += _REPAIRED_WITHIN
        try:
            code: int | None = running.process.wait(within)
        except subprocess.TimeoutExpired:
            code, trouble = None, f"it hung for {within:.0f} s"
            running.signal(signal.SIGKILL)
            running.process.wait()
        gone = time_until(
            lambda: not marked(mark) or NotYet(", ".join(marked(mark))),
            state="all that it started to end",
            within=_GONE_WITHIN,
        )
        log = running.place / "log"
        said = log.read_text(errors="replace")
        if not trouble and _TRACEBACK.search(said):
            trouble = "it ended in a traceback"
        left = [f"process {name}" for name in marked(mark)] if not gone.reached else []
        left += self._unfound(running.place, labs)
        wrong = tuple(wrong_verdicts(running.place / "reports"))
        made = replace(attempt, code=code, left=tuple(left), wrong=wrong, trouble=trouble)
        if not made.survived and self.keep is not None:
            self.keep.mkdir(parents=True, exist_ok=True)
            kept = self.keep / f"attempt-{self.seed}-{attempt.number}.log"
            shutil.copyfile(log, kept)
            made = replace(made, log=str(kept))
        shutil.rmtree(running.place, ignore_errors=True)
        return made

    def _unfound(self, place: Path, labs: Sequence[str]) -> list[str]:
        """Return what was left and what ``clean`` does not find."""
        left = [str(p) for p in (place / "tmp").glob("*") if not p.name.startswith("pytest-of-")]
        left += [str(path) for path in (place / "labs").glob("*")]
        left += [str(p) for p in (place / "upper").glob("*/.*-*") if p.suffix != ".lock"]
        left += [
            str(group)
            for lab in labs
            for group in Path("/sys/fs/cgroup").glob(f"**/swarm-chaos/{lab}")
        ]
        if not left:
            return []
        for path in (place / "tmp").rglob("*"):
            with contextlib.suppress(OSError):  # what is young could be in use
                os.utime(path, (time.time() - 7200,) * 2)
        environment = {
            **os.environ,
            "SWARM_CHAOS_CACHE": str(place / "upper"),
            "SWARM_CHAOS_LABS": str(place / "labs"),
            "TMPDIR": str(place / "tmp"),
        }
        listed = subprocess.run(
            [sys.executable, "-m", "harness.cli.main", "clean", "--dry-run"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        return [each for each in left if not is_listed(each, listed)]


def is_listed(left: str, listed: str) -> bool:
    """Return whether ``clean`` lists a path; a half-built cache entry it lists by the entry's."""
    entry = re.sub(r"/\.([^/]+)\.building-[^/]+$", r"/\1", left)
    return any(name in listed for name in (left, Path(left).name, entry))


def marked(mark: str) -> list[str]:
    """Return the processes that an attempt started and that still run, by name."""
    wanted = f"{_MARK}={mark}\0".encode()
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                if wanted in (process / "environ").read_bytes():
                    found.append(f"{process.name} {(process / 'comm').read_text().strip()}")
    return found


def wrong_verdicts(reports: Path) -> Iterator[str]:
    """Yield the trials of a run that say "fail", or "pass" with a hole in what was seen.

    The scenario passes undisturbed, and nothing that befell the harness befell the swarm.
    """
    for path in sorted(reports.glob("2*/trials/*/trial.json")):
        with contextlib.suppress(OSError, ValueError):
            verdict = json.loads(path.read_text())["verdict"]
            if verdict == "fail" or (verdict == "pass" and longest_hole(path.parent) > MOST):
                yield f"{path.parent.name}: {verdict}"


def longest_hole(trial: Path) -> float:
    """Return the longest time, in seconds, by which the harness's heartbeat was late."""
    try:
        lines = (trial / "samples/harness.jsonl").read_text().splitlines()
        return max((float(json.loads(line)["late_s"]) for line in lines), default=0.0)
    except (OSError, ValueError, KeyError):
        return 0.0


@contextlib.contextmanager
def memory_group(name: str, limit: int) -> Iterator[Path]:
    """A cgroup that may have ``limit`` bytes, swap included where that is counted."""
    base, files = _memory_hierarchy()
    group = base / f"swarm-chaos-survival-{name}"
    group.mkdir()
    try:
        for file in files:
            with contextlib.suppress(OSError):
                (group / file).write_text(str(limit if "swap.max" not in file else 0))
        yield group
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


def _memory_hierarchy() -> tuple[Path, tuple[str, ...]]:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, at, kind, options, *_ = line.split()
        if kind == "cgroup" and "memory" in options.split(","):
            return Path(at), ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        if kind == "cgroup2" and "memory" in (Path(at) / "cgroup.subtree_control").read_text():
            return Path(at), ("memory.max", "memory.swap.max")
    raise MissingError("no cgroup hierarchy of this machine has the memory controller")


def _made(place: Path) -> Path:
    for name in ("upper", "work", "cache", "reports", "labs", "tmp"):
        (place / name).mkdir(parents=True, mode=0o700)
    return place
