"""The options of the microVM lab, through pytest's own parser: which kernel, which clock."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from stand_ins import stand_in

from harness.errors import UsageError
from harness.pytest_plugin import collection, markers, options
from harness.vm import qemu_binary
from harness.vm.kernels import KERNELS, kernel_suite
from harness.vm.machine import Clock


@pytest.fixture
def read(tmp_path: Any) -> Callable[..., options.Options]:
    """A function that reads a command line's options."""

    def run(*args: str) -> options.Options:
        parser = pytest.Parser(_ispytest=True)
        options.declare(parser)
        namespace = parser.parse(args)

        class Config:
            invocation_params = SimpleNamespace(dir=tmp_path)

            def getoption(self, name: str) -> str | bool | None:
                result: str | bool | None = getattr(
                    namespace, name.removeprefix("--").replace("-", "_")
                )
                return result

        return options.read(stand_in(Config()))

    return run


def refused(read: Callable[..., options.Options], *args: str) -> str:
    with pytest.raises(UsageError) as refusal:
        read(*args)
    assert refusal.value.exit_code == 64
    return str(refusal.value)


def test_without_options_it_is_the_default_kernel_in_virtual_time(
    read: Callable[..., options.Options],
) -> None:
    meant = read()
    assert (meant.kernel, meant.clock) == (options.DEFAULT_KERNEL, Clock.VIRTUAL)
    assert options.DEFAULT_KERNEL in KERNELS


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_that_is_offered_is_taken(
    read: Callable[..., options.Options], kernel: str
) -> None:
    assert read(f"--kernel={kernel}").kernel == kernel
    assert kernel_suite(kernel) == KERNELS[kernel]


@pytest.mark.parametrize("kernel", ["", "6", "6.2", "latest", "6.12.1", " 6.12"])
def test_an_unknown_kernel_is_refused_with_the_known_ones(
    read: Callable[..., options.Options], kernel: str
) -> None:
    told = refused(read, f"--kernel={kernel}")
    assert repr(kernel) in told
    assert all(known in told for known in KERNELS)


@pytest.mark.parametrize("clock", Clock)
def test_both_clocks_are_taken(read: Callable[..., options.Options], clock: Clock) -> None:
    assert read("--clock", clock.value).clock is clock


@pytest.mark.parametrize("clock", ["", "wall", "Virtual", "virtual,real"])
def test_an_unknown_clock_is_refused_with_the_known_ones(
    read: Callable[..., options.Options], clock: str
) -> None:
    told = refused(read, f"--clock={clock}")
    assert repr(clock) in told
    assert "virtual, real" in told


@pytest.mark.parametrize("lab", options.LABS)
def test_every_lab_that_is_offered_is_taken_and_offered_in_the_refusal(
    read: Callable[..., options.Options], lab: str
) -> None:
    assert read(f"--lab={lab}").lab == lab
    assert lab in refused(read, "--lab=cloud")


@pytest.mark.parametrize(("at_hand", "lab"), [(True, "microvm"), (False, "namespaces")])
def test_auto_is_the_guest_where_qemu_is_or_can_be_fetched(
    read: Callable[..., options.Options], monkeypatch: pytest.MonkeyPatch, at_hand: bool, lab: str
) -> None:
    monkeypatch.setattr(qemu_binary, "qemu_at_hand", lambda _cache: at_hand)
    assert markers.chosen_lab(read()) == lab
    assert markers.chosen_lab(read("--lab=microvm")) == "microvm"
    assert markers.chosen_lab(read("--lab=namespaces")) == "namespaces"


@pytest.mark.parametrize("option", ["--cpus=2", "--memory=8000"])
def test_hardware_is_refused_where_there_are_no_guests(
    option: str, read: Callable[..., options.Options]
) -> None:
    with pytest.raises(UsageError, match=f"{option.partition('=')[0]} is for guests"):
        collection.refuse_hardware_without_guests(read(option, "--lab=namespaces"))
    collection.refuse_hardware_without_guests(read(option, "--lab=microvm"))
    collection.refuse_hardware_without_guests(read(option, "--lab=namespaces", "--lab-attach=/x"))


@pytest.mark.parametrize("share", ["2", "-0.1", "all"])
def test_an_audit_is_a_share_and_needs_reuse(
    read: Callable[..., options.Options], share: str
) -> None:
    assert read("--reuse", "--audit=0.02").audit == 0.02
    assert "not a valid share" in refused(read, "--reuse", f"--audit={share}")
    assert "--audit needs --reuse" in refused(read, "--audit=0.5")
