"""A bare guest: frozen once, thawed many times."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from processes import running

import harness
from harness.errors import HarnessError, MicrovmError, UsageError
from harness.images import Cache
from harness.images.kernel import debian_kernel
from harness.snapshots.import_graph import ImportGraph
from harness.vm import content_hash
from harness.vm.checkpoint import Checkpoint, checkpoints, discard, find, prune_checkpoints
from harness.vm.guest_image import GuestImage, base_tar
from harness.vm.machine import Machine
from harness.vm.mailbox import pack
from harness.vm.pool import Pool
from harness.vm.snapshot import FreezeSpec, Snapshot, freeze, snapshots
from harness.vm.thaw import GuestResult, Outcome, Stopped, resume, thaw
from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration

REPOSITORY = Path(harness.__file__).parent.parent
AGENT = Path(__file__).with_name("vm_agent.py")
WORD = pack({"word": b"hello"})

#: Seconds of wall time after which a guest hangs for these tests: what its run costs is up to the
#: machine and to what else runs there, most take some seconds.
WALL = 600


@pytest.fixture(scope="module")
def spec() -> FreezeSpec:
    """The guest of these tests; its code is its agent and what that needs of the harness."""
    cache = Cache()
    image = GuestImage(
        base_tar(cache),
        debian_kernel("trixie", cache),
        requirements=["filelock", "msgspec", "packaging", "platformdirs"],
        constraints=REPOSITORY / "constraints.txt",
        size_mib=1024,
    )
    needed = ImportGraph(REPOSITORY / "harness").files(["harness.vm.guest_init"])
    sources = {str(path.relative_to(REPOSITORY)): path.read_bytes() for path in needed}
    code = pack({**sources, "agent.py": AGENT.read_bytes()})
    return FreezeSpec(image, ["python3", "agent.py"], code, Machine(memory_mib=512))


@pytest.fixture(scope="module")
def snapshot(spec: FreezeSpec) -> Snapshot:
    return freeze(spec, Cache())


@pytest.fixture
def slot() -> Iterator[int]:
    with Pool().slot() as cpu:
        yield cpu


def trial(
    snapshot: Snapshot,
    folder: Path,
    cpu: int,
    *,
    seed: int = 1,
    deadline: float = 60,
    **inputs: Any,
) -> GuestResult:
    with thaw(snapshot, WORD, inputs, seed=seed, virtual_deadline=deadline, cpu=cpu) as guest:
        return guest.wait(folder, wall_deadline=WALL)


def digest(result: GuestResult) -> str:
    assert result.ok, result
    told = (result.folder / "fingerprint.txt").read_bytes() + result.console.read_bytes()
    return hashlib.sha256(told).hexdigest()


def test_snapshot_is_found_again_and_listed_with_size_and_age(
    spec: FreezeSpec, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache()

    def never(*_: object) -> None:
        raise AssertionError("it is frozen again")

    monkeypatch.setattr("harness.vm.snapshot._boot", never)
    assert freeze(spec, cache) == snapshot
    assert snapshot in snapshots(cache)
    assert 50 << 20 < snapshot.disk_bytes < 2048 << 20
    assert snapshot.age_seconds >= 0


def test_what_is_built_and_frozen_anew_elsewhere_is_the_same_machine(
    spec: FreezeSpec, snapshot: Snapshot, tmp_path: Path
) -> None:
    """Another folder, another time: memory and root file system are the same to the byte."""
    elsewhere = Cache(tmp_path / "another cache")
    for kind in ("qemu", "lockstep"):  # fetched and compiled: what they are goes by their keys
        shutil.copytree(Cache().root / kind, elsewhere.root / kind)
    again = freeze(spec, elsewhere)
    assert again.key == snapshot.key
    assert again.folder != snapshot.folder
    for name in ("root", "ram", "vmlinuz", "initrd"):
        assert content_hash.of_file(again.folder / name) == content_hash.of_file(
            snapshot.folder / name
        ), name


def test_result_comes_back_with_folders_and_console(
    snapshot: Snapshot, tmp_path: Path, slot: int
) -> None:
    result = trial(snapshot, tmp_path / "out", slot, do="fingerprint", seconds=1)
    assert result.ok
    assert (tmp_path / "out/folder/digest").read_text()
    assert "payload says hello" in result.console.read_text()
    assert 1 < result.virtual_seconds < 5


def test_folder_with_a_result_in_it_is_refused(
    snapshot: Snapshot, tmp_path: Path, slot: int
) -> None:
    trial(snapshot, tmp_path, slot, do="sleep", seconds=1)
    with pytest.raises(UsageError, match="already holds"):
        trial(snapshot, tmp_path, slot, do="sleep", seconds=1)


def test_guests_are_equal_exactly_when_their_seeds_are_even_on_crowded_cpus(
    snapshot: Snapshot, tmp_path: Path
) -> None:
    cpus = sorted(os.sched_getaffinity(0))

    def one(number: int) -> tuple[int, str]:
        seed = number % 3
        result = trial(
            snapshot, tmp_path / str(number), cpus[number % len(cpus)],
            seed=seed, do="fingerprint", seconds=20,
        )  # fmt: skip
        return seed, digest(result)

    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(len(cpus))]
    try:
        with ThreadPoolExecutor(2 * len(cpus)) as threads:
            found = set(threads.map(one, range(12)))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert len(found) == 3, found
    assert len({told for _, told in found}) == 3


def test_idle_time_is_jumped_over(snapshot: Snapshot, tmp_path: Path, slot: int) -> None:
    result = trial(snapshot, tmp_path, slot, do="sleep", seconds=600, deadline=1000)
    assert result.ok
    assert result.virtual_seconds >= 600
    assert result.wall_seconds < 600 / 4


@pytest.mark.parametrize(
    ("inputs", "outcome", "code"),
    [
        ({"do": "exit", "code": 3}, Outcome.FINISHED, 3),
        ({"do": "raise"}, Outcome.FINISHED, 70),
        ({"do": "die"}, Outcome.FINISHED, -9),
        ({"do": "sleep", "seconds": 100}, Outcome.HUNG, -15),
        ({"do": "ignore"}, Outcome.HUNG, -9),
        ({"do": "panic"}, Outcome.PANICKED, None),
        ({"do": "eat"}, Outcome.OUT_OF_MEMORY, -9),
        ({"do": "fill"}, Outcome.DISK_FULL, 70),
        ({"do": "leave", "bytes": 300 << 20}, Outcome.DISK_FULL, 0),
        ({"do": "poweroff"}, Outcome.DIED, None),
    ],
    ids=lambda value: value["do"] if isinstance(value, dict) else None,
)
def test_every_end_is_told_apart(
    snapshot: Snapshot,
    tmp_path: Path,
    slot: int,
    inputs: Any,
    outcome: Any,
    code: int | None,
) -> None:
    result = trial(snapshot, tmp_path, slot, deadline=30, **inputs)
    assert (result.outcome, result.exit_code) == (outcome, code), result
    assert not result.ok
    if outcome is not Outcome.FINISHED:
        assert result.detail
    if inputs["do"] == "sleep":
        assert (tmp_path / "before").read_text() == "slept"
    if inputs["do"] == "raise":
        assert "RuntimeError: as asked" in result.console_tail


def test_wall_deadline_ends_a_guest_that_spins(
    snapshot: Snapshot, tmp_path: Path, slot: int
) -> None:
    with thaw(
        snapshot, WORD, {"do": "spin"}, seed=1, virtual_deadline=1e6, cpu=slot
    ) as guest:  # fmt: skip
        result = guest.wait(tmp_path, wall_deadline=3)
    assert result.outcome is Outcome.HUNG
    assert "3 wall seconds" in result.detail
    assert 3 <= result.wall_seconds < 60


def test_a_qemu_that_stays_stopped_is_given_up_and_one_that_goes_on_is_as_it_was(
    snapshot: Snapshot, tmp_path: Path, slot: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = digest(trial(snapshot, tmp_path / "calm", slot, do="fingerprint", seconds=20))
    with thaw(
        snapshot, WORD, {"do": "fingerprint", "seconds": 20}, seed=1, virtual_deadline=60, cpu=slot
    ) as guest:
        os.kill(guest.pid, signal.SIGSTOP)
        threading.Timer(1, os.kill, (guest.pid, signal.SIGCONT)).start()
        assert digest(guest.wait(tmp_path / "paused", wall_deadline=WALL)) == undisturbed

    monkeypatch.setattr("harness.vm.thaw._STOPPED_FOR", 1.0)
    with thaw(
        snapshot, WORD, {"do": "spin"}, seed=1, virtual_deadline=1e6, cpu=slot, scratch=tmp_path
    ) as guest:
        pid = guest.pid
        os.kill(pid, signal.SIGSTOP)
        result = guest.wait(tmp_path / "stopped", wall_deadline=WALL)
    assert result.outcome is Outcome.HUNG
    assert "its QEMU was stopped (SIGSTOP) for 1 s" in result.detail
    assert not Path(f"/proc/{pid}").exists()


def test_console_is_told_while_the_guest_runs(
    snapshot: Snapshot, tmp_path: Path, slot: int
) -> None:
    with thaw(
        snapshot, WORD, {"do": "spin"}, seed=1, virtual_deadline=1e6, cpu=slot
    ) as guest:  # fmt: skip
        assert any("payload says hello" in line for line in guest.console_lines())


def test_payload_too_large_is_refused_and_leaves_nothing(
    snapshot: Snapshot, tmp_path: Path
) -> None:
    with pytest.raises(MicrovmError, match="the inbox holds"):
        thaw(
            snapshot, bytes(200 << 20), {}, seed=1, virtual_deadline=1, scratch=tmp_path
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_closing_ends_qemu_and_removes_its_files(
    snapshot: Snapshot, tmp_path: Path, slot: int
) -> None:
    with thaw(
        snapshot, WORD, {"do": "spin"}, seed=1, virtual_deadline=1e6, cpu=slot, scratch=tmp_path
    ) as guest:
        pid = guest.pid
        assert list(tmp_path.iterdir())
    assert not Path(f"/proc/{pid}").exists()
    assert list(tmp_path.iterdir()) == []


def test_qemu_dies_with_its_parent_killed(snapshot: Snapshot, tmp_path: Path, slot: int) -> None:
    program = f"""
import threading, time
from pathlib import Path
from harness.vm.mailbox import pack
from harness.vm.snapshot import Snapshot
from harness.vm.thaw import thaw

def start():
    guest = thaw(Snapshot(Path({str(snapshot.folder)!r})), pack({{"word": b"x"}}), {{"do": "spin"}},
                 seed=1, virtual_deadline=1e6, cpu={slot}, scratch=Path({str(tmp_path)!r}))
    print(guest.pid, flush=True)
    keep.append(guest)

keep = []
thread = threading.Thread(target=start)
thread.start()
thread.join()
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    time.sleep(0.5)
    assert running(pid), "QEMU ended with the thread that asked for it"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(  # whose it is now to reap is up to the machine's first process
        lambda: not running(pid) or NotYet("QEMU runs on"),
        state="QEMU gone after its parent's kill -9", within=20,
    )  # fmt: skip


def test_boot_that_fails_shows_the_consoles_end_and_leaves_nothing(spec: FreezeSpec) -> None:
    cache = Cache()
    bad = replace(spec, command=["sh", "-c", "echo so it goes; exit 5"])
    with pytest.raises(HarnessError, match=r"(?s)before it was frozen.*so it goes.*with 5"):
        freeze(bad, cache)
    assert not [at for at, said in consoles(cache) if "so it goes" in said]


def consoles(cache: Cache) -> Iterator[tuple[Path, str]]:
    """The consoles' logs in the cache, in which others may be freezing just now."""
    for folder, _, files in os.walk(cache.root / "snapshot"):  # passes over what is gone
        if "console.log" in files:
            path = Path(folder, "console.log")
            with contextlib.suppress(FileNotFoundError):
                yield path, path.read_text(errors="replace")


PASSING: dict[str, Any] = {"do": "fingerprint", "seconds": 2, "checkpoints": 2}


def facts(snapshot: Snapshot, stopped: Stopped) -> dict[str, str]:
    return {"base": snapshot.key, "test": "vm_guest", "point": stopped.name}


def test_what_goes_on_from_a_checkpoint_is_the_run_that_passed_it(
    snapshot: Snapshot, tmp_path: Path, slot: int
) -> None:
    """A run of which nothing is kept, one that is kept twice, and what is thawed from that."""
    digests: dict[str, list[str]] = {"point 0": [], "point 1": []}
    kept: dict[str, Checkpoint] = {}

    def keep(stopped: Stopped) -> bool:
        kept[stopped.name] = stopped.keep(facts(snapshot, stopped), note={"of": "tests"})
        digests[stopped.name] += [kept[stopped.name].digest, stopped.digest()]
        return True

    passed = trial(snapshot, tmp_path / "passed", slot, **PASSING)
    with thaw(
        snapshot, WORD, PASSING, seed=1, virtual_deadline=60, cpu=slot, at_checkpoint=keep
    ) as guest:
        parent = guest.wait(tmp_path / "parent", wall_deadline=WALL)
    with resume(kept["point 0"], seed=1, cpu=slot, at_checkpoint=keep) as guest:
        child = guest.wait(tmp_path / "child", wall_deadline=WALL)
    with resume(kept["point 1"], seed=1, cpu=slot) as guest:  # kept of a child: a grandchild
        grandchild = guest.wait(tmp_path / "grandchild", wall_deadline=WALL)

    assert len({digest(result) for result in (passed, parent, child, grandchild)}) == 1
    assert [len(found) for found in digests.values()] == [2, 4]
    assert [len(set(found)) for found in digests.values()] == [1, 1]
    assert kept["point 1"].base == snapshot
    assert kept["point 0"].disk_bytes < snapshot.disk_bytes / 2
    for checkpoint in kept.values():
        discard(checkpoint)


def test_many_runs_start_from_one_warm_up(snapshot: Snapshot, tmp_path: Path, slot: int) -> None:
    """Thawed without a payload it warms up; what is thawed from there has its own run and seed.

    In use and at rest, and from a warm-up in two steps.
    """
    kept: list[Checkpoint] = []

    def warmed(source: Snapshot | Checkpoint, warmth: int) -> Checkpoint:
        about = {"base": snapshot.key, "test": "vm_guest", "warmth": str(warmth)}

        def keep(stopped: Stopped) -> bool:
            assert stopped.name == "warm"
            kept.append(stopped.keep(about, note={}))
            return False

        with thaw(
            source, None, {"warmth": warmth}, seed=1, virtual_deadline=60, cpu=slot,
            at_checkpoint=keep,
        ) as guest:  # fmt: skip
            guest.wait(tmp_path / f"warm-up {warmth}", wall_deadline=WALL)
        assert find(Cache(), about) == kept[-1]
        return kept[-1]

    lukewarm = warmed(snapshot, 3)
    warm = warmed(lukewarm, 7)
    discard(lukewarm)  # of which the other keeps all that it needs
    assert warm.base == snapshot

    def told(name: str, seed: int) -> str:
        with thaw(
            warm, WORD, {"do": "fingerprint", "seconds": 1}, seed=seed, virtual_deadline=60,
            cpu=slot,
        ) as guest:  # fmt: skip
            result = guest.wait(tmp_path / name, wall_deadline=WALL)
        text = (result.folder / "fingerprint.txt").read_text()
        assert re.search(r"^warm 3 \w{8} 7 \w{8}", text, flags=re.MULTILINE)
        assert 1 <= result.virtual_seconds < 3  # its own, without the warm-up's
        return digest(result)

    one = told("one", 1)
    warm.rest()
    assert one == told("other", 1) != told("another", 2)
    discard(warm)


def test_without_its_base_a_checkpoint_is_not_found_and_goes(
    snapshot: Snapshot, tmp_path: Path, slot: int
) -> None:
    orphaned = {"base": "gone", "test": "vm_guest"}
    kept: list[Checkpoint] = []

    def keep(stopped: Stopped) -> bool:
        kept.append(stopped.keep(orphaned, note={}))
        return False

    with thaw(
        snapshot, WORD, PASSING, seed=1, virtual_deadline=60, cpu=slot, at_checkpoint=keep
    ) as guest:
        guest.wait(tmp_path, wall_deadline=WALL)
    assert find(Cache(), orphaned) is None
    assert kept[0] not in checkpoints(Cache())
    assert kept[0].key in prune_checkpoints(Cache(), most_bytes=1 << 50)
    assert not kept[0].folder.exists()
