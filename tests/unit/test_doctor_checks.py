"""The doctor's single checks, on machines made up for them."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.doctor import Diagnosis, Finding, Machine, diagnose
from harness.doctor.check import REGISTRY, Check, Entry, run_checks
from harness.doctor.checks import microvm
from harness.doctor.checks.kernel import FEATURES
from harness.doctor.checks.machine import has_range
from harness.doctor.checks.programs import PROGRAMS
from harness.doctor.labs import AUTO, NEEDS, ONLY_ORDINARY_USERS
from harness.doctor.machine import Answer, nearest_folder
from harness.doctor.packages import PACKAGE_OF, apt_line_of_all
from harness.doctor.show import render
from harness.errors import MissingError
from harness.images import Cache
from harness.images.debian_qemu import DebianQemu
from harness.lab.features import KernelFeatures, Tried
from harness.vm.kvm import KvmVerdict

REPOSITORY = Path(__file__).parents[2]


class MadeUp(Machine):
    """A machine with the programs and answers a test gives it, and no others."""

    programs = frozenset(PACKAGE_OF)
    answers: dict[str, Any] = {}  # noqa: RUF012

    def find(self, program: str) -> str | None:
        return f"/usr/bin/{program}" if program in self.programs else None

    def ask(self, argv: Sequence[str], *, within: float) -> Answer:
        name = argv[0].rpartition("/")[2]
        result: Answer = self.answers.get(name, Answer(1, "refused"))
        return result


def made_up(
    *,
    root: bool = True,
    programs: frozenset[str] = frozenset(PACKAGE_OF),
    answers: Mapping[str, Answer] | None = None,
    lacking: Collection[str] | tuple[Any, ...] = (),
    said: str = "",
) -> Any:
    tried = {name: Tried(name not in lacking, said) for name in FEATURES}
    kind = type("Kind", (MadeUp,), {"programs": programs, "answers": answers or {}})
    home = Path(__file__).parent
    return kind(root, "someone", home, home, home, KernelFeatures(tried, "v2"))


def one(name: str, machine: Machine) -> Check:
    [found] = run_checks(machine, [entry for entry in REGISTRY if entry.name == name])
    return found


def healthy() -> list[Check]:
    """Every check, ok."""
    return [Check(e.name, e.group, e.needed_for, "ok", "") for e in REGISTRY]


def with_state(name: str, state: Any, todo: str = "do this") -> list[Check]:
    return [
        Check(c.name, c.group, c.needed_for, state, "seen", todo) if c.name == name else c
        for c in healthy()
    ]


def works(diagnosis: Diagnosis) -> set[str]:
    return {lab.name for lab in diagnosis.labs if lab.works}


def test_names_are_unique_and_every_check_says_who_needs_it() -> None:
    names = [entry.name for entry in REGISTRY]
    assert len(names) == len(set(names))
    assert all(entry.needed_for for entry in REGISTRY)


def test_labs_stand_only_on_checks_that_exist() -> None:
    names = {entry.name for entry in REGISTRY}
    for needs in [*NEEDS.values(), *ONLY_ORDINARY_USERS.values()]:
        assert set(needs) <= names


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_missing_program_comes_with_the_package_that_brings_it(program: str) -> None:
    assert one(program, made_up()).state == "ok"
    found = one(program, made_up(programs=frozenset(PACKAGE_OF) - {program}))
    assert (found.state, found.todo) == ("missing", f"apt-get install {PACKAGE_OF[program]}")


def test_every_package_named_is_one_that_the_set_up_installs() -> None:
    lines = (REPOSITORY / ".ci" / "apt-packages.txt").read_text().splitlines()
    installed = {line.split("#")[0].strip() for line in lines}
    assert set(PACKAGE_OF.values()) <= installed


def test_a_kernel_feature_that_is_refused_shows_what_the_kernel_said() -> None:
    machine = made_up(lacking={"netem"}, said="Error: Specified qdisc kind is unknown.")
    found = one("netem", machine)
    assert (found.state, found.seen) == ("missing", "Error: Specified qdisc kind is unknown.")


def test_a_module_that_could_be_loaded_is_no_lack_but_a_line_to_type() -> None:
    found = one("ip_vs", made_up(lacking={"ip_vs"}, answers={"modprobe": Answer(0, "")}))
    assert (found.state, found.todo) == ("degraded", "as root: modprobe ip_vs")


@pytest.mark.parametrize(
    ("said", "state", "todo"),
    [
        ("some avg10=0.00 total=1\nfull avg10=0.00 total=0\n", "ok", ""),
        ("some avg10=0.00 total=1\n", "degraded", "a kernel from 5.13 on"),
        (None, "degraded", "boot with psi=1 on the kernel's command line"),
    ],
)
def test_a_kernel_that_does_not_say_how_long_a_lab_waits_has_a_row_of_its_own(
    said: str | None, state: str, todo: str, tmp_path: Path
) -> None:
    pressure = tmp_path / "cpu"
    if said is not None:
        pressure.write_text(said)
    machine = Machine(True, "root", tmp_path, tmp_path, tmp_path, pressure=pressure)
    found = one("pressure", machine)
    assert (found.state, found.todo) == (state, todo)


@pytest.mark.parametrize(
    ("said", "state", "seen"),
    [
        ("1024\n", "ok", "room for 1024, which a lab of fifty nodes fills: as root: sysctl"),
        ("16384\n", "ok", "room for 16384"),
        (None, "unknown", "does not say"),
    ],
)
def test_how_many_neighbours_there_is_room_for_is_shown(
    said: str | None, state: str, seen: str, tmp_path: Path
) -> None:
    neighbours = tmp_path / "gc_thresh3"
    if said is not None:
        neighbours.write_text(said)
    machine = Machine(True, "root", tmp_path, tmp_path, tmp_path, neighbours=neighbours)
    found = one("neighbours", machine)
    assert found.state == state
    assert seen in found.seen


def test_a_feature_that_could_not_be_tried_is_unknown_and_not_missing() -> None:
    kernel = KernelFeatures({"nftables": Tried(None, "no program nft")}, "v2")
    found = one("nftables", Machine(True, "root", Path("/"), Path("/"), Path("/"), kernel))
    assert (found.state, found.todo) == ("unknown", "apt-get install nftables")


def test_without_namespaces_the_rest_says_why_it_was_not_tried() -> None:
    kernel = KernelFeatures({"namespaces": Tried(False, "Operation not permitted")}, "v2")
    found = one("veth", Machine(True, "root", Path("/"), Path("/"), Path("/"), kernel))
    assert found.state == "unknown"
    assert "Operation not permitted" in found.seen


@pytest.fixture
def qemu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """What is here of QEMU: nothing named, nothing cached, on an x86-64 machine."""
    monkeypatch.delenv("SWARM_CHAOS_QEMU", raising=False)
    monkeypatch.setattr(microvm, "debian_qemu_fits", lambda: True)
    monkeypatch.setattr(microvm, "cached_qemu", lambda _cache: None)
    return monkeypatch


def test_a_qemu_that_can_be_fetched_is_no_lack(qemu: pytest.MonkeyPatch) -> None:
    found = one("QEMU", made_up())
    assert (found.state, found.todo) == ("ok", "")
    assert "fetched when it is first needed" in found.seen


def test_a_qemu_that_cannot_be_fetched_is_missing_and_says_why(qemu: pytest.MonkeyPatch) -> None:
    found = one("QEMU", made_up(programs=frozenset()))
    assert (found.state, found.todo) == ("missing", "apt-get install mmdebstrap")
    qemu.setattr(microvm, "debian_qemu_fits", lambda: False)
    found = one("QEMU", made_up())
    assert (found.state, "SWARM_CHAOS_QEMU" in found.todo) == ("missing", True)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Answer(0, "QEMU emulator version 10.0.13 (Debian 1:10.0.13)\n"), "ok"),
        (Answer(0, "something else"), "unknown"),
        (Answer(126, "Permission denied"), "unknown"),
        (Answer(None, "no answer within 10 s"), "unknown"),
    ],
)
def test_a_cached_qemu_is_believed_only_when_it_runs(
    qemu: pytest.MonkeyPatch, answer: Answer, state: str
) -> None:
    cached = DebianQemu("10.0.13 Debian 1:10.0.13", Path("/cache/qemu"))
    qemu.setattr(microvm, "cached_qemu", lambda _cache: cached)
    found = one("QEMU", made_up(answers={"ld-linux-x86-64.so.2": answer}))
    assert found.state == state
    assert ("10.0.13" in found.seen) is (state == "ok")
    assert (answer.last_line in found.seen) is (state != "ok")


def test_a_qemu_of_the_users_own_is_named_and_one_that_is_not_there_is_missing(
    qemu: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "qemu"
    program.write_text("#!/bin/sh\necho QEMU emulator version 9.1.0\n")
    program.chmod(0o755)
    qemu.setenv("SWARM_CHAOS_QEMU", str(program))
    found = one("QEMU", made_up())
    assert (found.state, found.seen) == ("ok", f"9.1.0 ({program}, by SWARM_CHAOS_QEMU)")
    qemu.setenv("SWARM_CHAOS_QEMU", "no-such-qemu")
    found = one("QEMU", made_up())
    assert found.state == "missing"
    assert "no-such-qemu" in found.seen
    assert found.todo


@pytest.mark.parametrize(
    ("text", "enough"),
    [
        ("someone:100000:65536\n", True),
        ("1000:100000:65536\n", True),
        ("someone:100000:1000\n", False),
        ("other:100000:65536\n", False),
        ("someone:100000\nsomeone:x:y\n\n", False),
        ("", False),
    ],
)
def test_ranges_of_subordinate_ids(text: str, enough: bool) -> None:
    assert has_range(text, "someone", 1000) is enough


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (MissingError("no such thing", hint="get it"), "no such thing"),
        (ValueError("odd"), "the check itself failed: ValueError: odd"),
    ],
)
def test_a_check_that_breaks_is_unknown_and_the_others_go_on(
    error: MissingError | ValueError, seen: str
) -> None:
    def breaks(_machine: Machine) -> Finding:
        raise error

    entries = [
        Entry("breaks", "machine", "x", breaks),
        Entry("fine", "machine", "x", lambda _machine: Finding("ok", "yes")),
    ]
    broken, fine = run_checks(made_up(), entries)
    assert (broken.state, broken.seen) == ("unknown", seen)
    assert fine.state == "ok"


#: The labs whose nodes are on other machines.
MACHINES = ("ssh", "vagrant")


def test_a_healthy_machine_has_all_labs_and_auto_takes_the_first() -> None:
    diagnosis = diagnose(healthy(), root=True)
    assert works(diagnosis) == {"microvm", "namespaces", "dind", *MACHINES}
    assert diagnosis.auto == AUTO[0]


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("QEMU", {"namespaces", "dind", *MACHINES}),
        ("veth", {"microvm"}),
        ("mmdebstrap", {"dind"}),
        ("Docker Engine", {"microvm", "namespaces", *MACHINES}),
        ("ssh", {"microvm", "namespaces", "dind"}),
        ("vagrant", {"microvm", "namespaces", "dind", "ssh"}),
        ("netem", {"microvm", "namespaces", "dind", *MACHINES}),
    ],
)
def test_what_is_missing_takes_the_labs_that_stand_on_it(name: str, left: set[str]) -> None:
    diagnosis = diagnose(with_state(name, "missing"), root=True)
    assert works(diagnosis) == left
    assert diagnosis.auto == next((lab for lab in AUTO if lab in left), None)
    for lab in diagnosis.labs:
        if lab.name in NEEDS and not lab.works:
            assert name in lab.because
            assert lab.todo == ("do this",)


def test_degraded_is_enough_to_run_on_but_an_ordinary_user_is_no_root() -> None:
    assert "microvm" in works(diagnose(with_state("memory", "degraded"), root=True))
    assert works(diagnose(with_state("user", "degraded"), root=False)) == {"microvm"}


def test_an_ordinary_user_needs_a_range_of_ids_and_root_does_not() -> None:
    checks = with_state("subordinate ids", "missing")
    assert "microvm" in works(diagnose(checks, root=True))
    assert "microvm" not in works(diagnose(checks, root=False))


def test_the_nearest_folder_is_on_the_same_way(tmp_path: Path) -> None:
    assert nearest_folder(tmp_path / "a" / "b") == tmp_path
    assert nearest_folder(tmp_path) == tmp_path


def render_to_text(diagnosis: Diagnosis) -> str:
    from rich.console import Console

    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render(diagnosis))
    return console.export_text()


def test_the_terminal_shows_every_check_its_state_in_words_and_the_way_out() -> None:
    text = render_to_text(diagnose(with_state("QEMU", "missing", "apt-get install q"), root=True))
    for entry in REGISTRY:
        assert entry.name in text
    assert "missing" in text
    assert "-> apt-get install q" in text
    assert "--lab auto takes namespaces" in text


@pytest.mark.parametrize(("missing", "code"), [("QEMU", 0), ("mmdebstrap", 2)])
def test_the_command_ends_by_whether_a_lab_can_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str, code: int
) -> None:
    from harness import doctor
    from harness.cli.main import call

    diagnosis = diagnose(with_state(missing, "missing"), root=True)
    monkeypatch.setattr(doctor, "examine", lambda: diagnosis)
    assert call(["doctor", "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["auto"] == diagnosis.auto
    assert {c["name"]: c["state"] for c in told["checks"]}[missing] == "missing"


def kvm(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    device: bool = True,
    kernel: str | None = "a kernel",
    qemu: bool = True,
    verdict: KvmVerdict | None = None,
) -> Check:
    monkeypatch.setattr(microvm, "DEVICE", tmp_path / "kvm")
    if device:
        (tmp_path / "kvm").touch()
    monkeypatch.setattr(microvm, "cached_kernel", lambda _cache: kernel)
    monkeypatch.setattr(microvm, "qemu_is_here", lambda _cache: qemu)
    monkeypatch.setattr(microvm, "kvm_boots", lambda _kernel, _cache: verdict)
    return one("KVM", made_up())


def test_kvm_is_believed_only_when_a_guest_booted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert kvm(monkeypatch, tmp_path, verdict=KvmVerdict(True, "it came up")).state == "ok"
    found = kvm(monkeypatch, tmp_path, verdict=KvmVerdict(False, "failed to set MSR"))
    assert found.state == "degraded"
    assert "failed to set MSR" in found.seen


def test_without_the_device_a_kernel_or_qemu_kvm_is_not_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert kvm(monkeypatch, tmp_path, kernel=None).state == "unknown"
    found = kvm(monkeypatch, tmp_path, qemu=False)
    assert (found.state, "QEMU is cached yet" in found.seen) == ("unknown", True)
    (tmp_path / "kvm").unlink()
    assert kvm(monkeypatch, tmp_path, device=False).seen.startswith("there is no ")


def test_no_kernel_in_an_empty_cache_and_none_is_fetched(tmp_path: Path) -> None:
    assert microvm.cached_kernel(Cache(tmp_path)) is None


def test_all_missing_packages_make_one_line() -> None:
    todos = ["apt-get install nftables", "free 2 GiB", "", "apt-get install kmod nftables"]
    assert apt_line_of_all(todos) == "apt-get install kmod nftables"
    assert apt_line_of_all(["free 2 GiB"]) == ""
    other = ["apt-get install vagrant, or take it from its makers", "apt-get install kmod"]
    assert apt_line_of_all(other) == "apt-get install kmod vagrant"
