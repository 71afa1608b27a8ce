from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optionals import not_none

from harness.errors import MicrovmError, MissingError, WaitTimeout
from harness.images import Cache, Say
from harness.images.debian import DebianBuild, DebianRecipe
from harness.vm import guest_image, machine, sparse
from harness.vm.cgroup_limits import CgroupLimits
from harness.vm.console import follow, tail
from harness.vm.guest_init import Mailboxes, find_mailboxes
from harness.vm.initrd import (
    character_device,
    cpio,
    directory,
    load_order,
    parse_modules_dep,
    regular,
)
from harness.vm.kvm import probe_program
from harness.vm.machine import Clock, Files, Machine
from harness.vm.pool import Pool, memory_slots, own_mib
from harness.vm.qmp import Qmp
from harness.vm.scratch import Scratch, sweep
from harness.vm.snapshot import Snapshot
from harness.vm.thaw import Outcome, judge_console, seconds_in, thaw

FILES = Files(
    Path("/x/ram,1"),
    Path("/x/root"),
    1024,
    Path("/x/in"),
    Path("/x/out"),
    Path("/x/console"),
    Path("/x/kernel"),
    Path("/x/initrd"),
)


def test_cpio_is_read_back_by_cpio(tmp_path: Path) -> None:
    archive = cpio(
        [
            directory("bin"),
            regular("bin/tool", b"12345", executable=True),
            regular("empty", b""),
            character_device("console", 5, 1),
        ]
    )
    listed = subprocess.run(
        ["cpio", "-tv", "--quiet"], input=archive, capture_output=True, check=True
    ).stdout.decode()
    lines = [line.split() for line in listed.splitlines()]
    assert [(line[0], line[-1]) for line in lines] == [
        ("drwxr-xr-x", "bin"),
        ("-rwxr-xr-x", "bin/tool"),
        ("-rw-r--r--", "empty"),
        ("crw-------", "console"),
    ]
    assert lines[1][4] == "5"


def test_modules_come_after_what_they_need_and_once() -> None:
    table = parse_modules_dep(
        "k/top-most.ko.xz: k/mid.ko.xz k/low.ko.xz\nk/mid.ko.xz: k/low.ko.xz\nk/low.ko.xz:\n"
        "k/other.ko: k/low.ko.xz\n"
    )
    order = load_order(table, ["top_most", "built_in", "other", "mid"])
    assert order == ["k/low.ko.xz", "k/mid.ko.xz", "k/top-most.ko.xz", "k/other.ko"]


def test_modules_in_a_ring_are_an_error() -> None:
    with pytest.raises(MicrovmError, match="depends on itself"):
        load_order({"a.ko": ["b.ko"], "b.ko": ["a.ko"]}, ["a"])


def test_boxes_are_found_by_size_whatever_their_numbers() -> None:
    words = "quiet microvm.inbox=100 microvm.root=300 microvm.outbox=200"
    sizes = {"pmem0": 200, "pmem1": 300, "pmem2": 100}
    assert find_mailboxes(words, sizes) == Mailboxes("/dev/pmem2", "/dev/pmem0", 200)
    with pytest.raises(MicrovmError, match="no inbox or no outbox"):
        find_mailboxes(words, {"pmem0": 200, "pmem1": 300})


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("all quiet", Outcome.DIED),
        ("[ 1.0] Kernel panic - not syncing: sysrq", Outcome.PANICKED),
        ("Out of memory: Killed process 9 (x)", Outcome.OUT_OF_MEMORY),
        (
            "Kernel panic - not syncing: System is deadlocked\nOut of memory and no killable",
            Outcome.OUT_OF_MEMORY,
        ),
        ("OSError: [Errno 28] No space left on device", Outcome.DISK_FULL),
    ],
)
def test_a_guest_without_result_is_judged_by_its_console(text: str, outcome: Outcome) -> None:
    assert judge_console(text) is outcome


@given(st.text())
def test_no_console_line_breaks_the_clock(line: str) -> None:
    assert seconds_in(line) == 0.0
    assert seconds_in(f"microvm: virtual seconds {line}") >= 0 or line.strip().startswith("-")


def test_heartbeats_are_read_from_lines_with_noise_before_them() -> None:
    assert seconds_in("garbage microvm: virtual seconds 20") == 20.0
    assert seconds_in("microvm: virtual seconds nan") == 0.0


def test_follower_gives_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "console"
    lines = follow(path)
    assert lines.fresh() == []
    path.write_bytes(b"one\r\ntw")
    assert lines.fresh() == ["one"]
    with path.open("ab") as file:
        file.write(b"o\nthree\xff\n")
    assert lines.fresh() == ["two", "three\ufffd"]
    assert lines.fresh() == []
    assert tail(path, 2) == "two\nthree\ufffd"
    assert tail(tmp_path / "none") == ""


def test_virtual_clock_is_one_cpu_of_counted_instructions() -> None:
    words = Machine().switches(FILES, seed=7, private=True)
    joined = " ".join(words)
    assert "tcg,thread=single" in joined
    assert "shift=0,sleep=off" in joined
    assert "-seed 7" in joined
    assert "-rtc base=2026-01-01T00:00:00,clock=vm" in joined
    assert "-nodefaults" in words
    with pytest.raises(MicrovmError, match="0 CPUs"):
        Machine(cpus=0)
    with pytest.raises(MicrovmError, match="TCG"):
        Machine(accelerator=machine.Accelerator.KVM)


def test_more_cpus_in_virtual_time_take_turns_on_one_thread() -> None:
    joined = " ".join(Machine(cpus=2).switches(FILES, seed=7, private=True))
    assert "-smp 2" in joined
    assert "tcg,thread=single" in joined
    assert Machine(cpus=2).facts() != Machine().facts()  # so the snapshot is another


def test_a_thaw_writes_to_nothing_but_its_outbox() -> None:
    def shares(private: bool) -> dict[str, str]:
        words = Machine().switches(FILES, seed=1, private=private)
        backends = [word for word in words if word.startswith("memory-backend-file")]
        return {word.split("id=")[1].split(",")[0]: word[-3:].strip("=") for word in backends}

    assert shares(True) == {"ram": "off", "root": "off", "inbox": "off", "outbox": "on"}
    assert set(shares(False).values()) == {"on"}


def test_commas_in_paths_reach_qemu_doubled() -> None:
    assert any("/x/ram,,1" in word for word in Machine().switches(FILES, seed=1, private=True))


def test_every_field_of_the_machine_is_in_its_key() -> None:
    assert set(Machine().facts()) == set(Machine.__dataclass_fields__)
    assert Machine(clock=Clock.REAL).facts() != Machine().facts()


def test_a_snapshot_is_woken_by_the_qemu_that_froze_it_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "qemu"
    program.write_text("#!/bin/sh\necho QEMU emulator version 9.1.0\n")
    program.chmod(0o755)
    monkeypatch.setenv("SWARM_CHAOS_QEMU", str(program))

    def frozen_by(version: str) -> Snapshot:
        folder = tmp_path / "snapshot" / version
        folder.mkdir(parents=True)
        facts = {"qemu": version, "machine": Machine().facts()}
        (folder / "manifest.json").write_text(json.dumps({"facts": facts, "frozen_at": 0}))
        return Snapshot(folder)

    assert frozen_by("9.1.0").qemu().command == (str(program),)
    with pytest.raises(MicrovmError, match=r"frozen by QEMU 7\.2\.22.*in use is 9\.1\.0") as caught:
        thaw(frozen_by("7.2.22"), b"", {}, seed=1, virtual_deadline=1, scratch=tmp_path / "run")
    assert "SWARM_CHAOS_QEMU" in not_none(caught.value.hint)
    assert not (tmp_path / "run").exists()


def test_holes_change_nothing_but_the_room(tmp_path: Path) -> None:
    path = tmp_path / "file"
    block = 1 << 16
    content = os.urandom(block) + bytes(3 * block) + b"x" + bytes(block) + os.urandom(100)
    path.write_bytes(content)
    os.sync()
    sparse.dig_holes(path)
    assert path.read_bytes() == content
    copied = tmp_path / "copy"
    sparse.copy(path, copied)
    assert copied.read_bytes() == content
    assert sparse.disk_use(copied) < len(content)


def test_pool_gives_each_cpu_once_and_takes_it_back(tmp_path: Path) -> None:
    one, other = Pool(1, guest_mib=1, runtime=tmp_path), Pool(1, guest_mib=1, runtime=tmp_path)
    with one.slot() as cpu:
        assert cpu in os.sched_getaffinity(0)
        with pytest.raises(WaitTimeout, match="run a guest"), other.slot(within=0.1):
            pass
    with other.slot(within=0.1) as again:
        assert again == cpu


def test_pool_is_bounded_by_slots_cpus_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CgroupLimits, "cpus", lambda _: None)  # also in a container with a quota
    assert Pool(guest_mib=1, runtime=tmp_path).slots == len(os.sched_getaffinity(0))
    with pytest.raises(MissingError, match="MiB of memory are free"):
        Pool(guest_mib=1 << 40, runtime=tmp_path)
    with pytest.raises(MicrovmError):
        Pool(0, runtime=tmp_path)
    assert memory_slots(8000, 1000) == 7


def test_a_larger_guest_may_use_all_that_it_has_more() -> None:
    usual = Machine.memory_mib
    assert own_mib(usual + 5000) == own_mib(usual) + 5000


def test_probe_program_runs(tmp_path: Path) -> None:
    """It has no console to open here, so its write goes nowhere, and then it waits."""
    program = tmp_path / "probe"
    program.write_bytes(probe_program())
    program.chmod(0o755)
    process = subprocess.Popen([program], stdin=subprocess.DEVNULL)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
    finally:
        process.kill()
        process.wait()


@contextmanager
def qemu_saying(*messages: dict[str, Any]) -> Iterator[tuple[Qmp, socket.socket]]:
    ours, theirs = socket.socketpair()
    with theirs:
        for message in messages:
            theirs.sendall(json.dumps(message).encode() + b"\r\n")
        qmp = Qmp(ours)
        yield qmp, theirs
        qmp.close()


def test_qmp_keeps_events_that_come_between_question_and_answer() -> None:
    with qemu_saying({"event": "STOP"}, {"return": {"status": "paused"}, "id": 1}) as (qmp, _):
        assert qmp.ask("query-status") == {"status": "paused"}
        assert qmp.wait_event({"STOP"}, 0.1) == {"event": "STOP"}
        assert qmp.wait_event({"RESUME"}, 0.05) is None


def test_qmp_takes_no_answer_to_what_was_only_told_for_that_to_a_question() -> None:
    answers = [{"return": {}, "id": 1}, {"return": {"status": "running"}, "id": 2}]
    with qemu_saying(*answers) as (qmp, theirs):
        qmp.tell("cont")
        assert qmp.ask("query-status") == {"status": "running"}
        sent = [json.loads(line) for line in theirs.recv(4096).splitlines()]
        assert [(one["execute"], one["id"]) for one in sent] == [("cont", 1), ("query-status", 2)]


def test_qmp_errors_are_sentences() -> None:
    refusal = {"error": {"class": "GenericError", "desc": "no such thing"}, "id": 1}
    with qemu_saying(refusal) as (qmp, theirs):
        with pytest.raises(MicrovmError, match="refuses cont: no such thing"):
            qmp.ask("cont")
        with pytest.raises(MicrovmError, match=r"no answer to cont within 0\.05 s"):
            qmp.ask("cont", within=0.05)
        theirs.close()
        with pytest.raises(MicrovmError, match=r"does not take|closed its"):
            qmp.ask("cont", within=1)


def test_scratch_of_a_killed_owner_is_swept_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from harness.vm.scratch import Scratch;"
        "held = Scratch(Path(sys.argv[1])); (held.path / 'ram').write_text('x');"
        "print(held.path, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    with owner.stdout:
        left = Path(owner.stdout.readline().strip())
    os.utime(left, (0, 0))
    sweep(tmp_path)
    assert (left / "ram").exists()
    owner.kill()
    owner.wait()
    mine = Scratch(tmp_path)
    assert not left.exists()
    assert mine.path.is_dir()
    mine.remove()
    mine.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_pip_made_for_the_hosts_python_stays_out_of_the_image(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "flask").write_text("#!/some/where/.venv/bin/python\n")
    headers = tmp_path / "include" / "site" / "python3.11" / "greenlet"  # in a virtual environment
    headers.mkdir(parents=True)
    (headers / "greenlet.h").write_text("")
    record = tmp_path / "flask-3.0.dist-info" / "RECORD"
    record.parent.mkdir()
    header = "../../include/site/python3.11/greenlet/greenlet.h,sha256=ghi,4755\n"
    record.write_text(f"../../bin/flask,sha256=abc,214\n{header}flask/__init__.py,sha256=def,99\n")
    guest_image._drop_commands_and_headers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [record.parent.name]
    assert record.read_text() == "flask/__init__.py,sha256=def,99\n"
    guest_image._drop_commands_and_headers(tmp_path)  # packages without either are as well


def test_a_base_that_another_hook_made_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a cache from before the hook keeps the base without it, and its keys are nobody else's."""

    def made(recipe: DebianRecipe, target: Path, *, say: Say) -> DebianBuild:
        say(f"{len(recipe.hooks)} hook")
        target.write_text(" ".join(recipe.hooks))
        return DebianBuild(recipe, "nowhere", expired_release_accepted=False)

    monkeypatch.setattr(guest_image, "root_tar", made)
    cache = Cache(tmp_path)
    first = guest_image.base_tar(cache)
    assert guest_image.base_tar(cache) == first
    monkeypatch.setattr(guest_image, "FORGET_BYTE_CODE", "true")
    second = guest_image.base_tar(cache)
    assert second != first
    assert second.read_text() == "true"


def test_byte_code_that_no_two_builds_share_is_forgotten(tmp_path: Path) -> None:
    for name in ("usr/share/python3/debpython", "usr/lib/python3.13"):
        (tmp_path / name / "__pycache__").mkdir(parents=True)
    subprocess.run(["sh", "-c", guest_image.FORGET_BYTE_CODE, "sh", str(tmp_path)], check=True)
    kept = sorted(path.parent.name for path in tmp_path.rglob("__pycache__"))
    assert kept == ["python3.13"]
