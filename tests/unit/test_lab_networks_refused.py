"""What is not a network namespace cannot be entered, and says so."""

import os
from pathlib import Path

import pytest

from harness.errors import LabError
from harness.lab.network import NetworkDoor, enter_network
from harness.probes.sampling.netns import NetworkNamespace, from_a_thread


def test_a_file_is_not_a_network() -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="netns") as refusal:
            enter_network(descriptor)
    finally:
        os.close(descriptor)
    assert refusal.value.errno


def test_a_probe_names_what_it_cannot_enter() -> None:
    namespace = NetworkNamespace(Path(os.devnull))

    def enter() -> None:
        with namespace.entered():
            pytest.fail("it is not a namespace")

    try:
        with pytest.raises(LabError, match="cannot enter a network namespace"):
            from_a_thread(enter)
    finally:
        namespace.close()


def test_a_door_into_a_process_that_is_gone_does_not_open() -> None:
    door = NetworkDoor(999_999_999, "nowhere")
    with pytest.raises(LabError, match="cannot enter the network of nowhere"):
        door.call(int)
    door.close()
