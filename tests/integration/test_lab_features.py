"""Trying the kernel's features for real, and leaving the host as it was."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from host import mounts

from harness.lab.features import probe_features

pytestmark = pytest.mark.integration


def host_state() -> Any:
    links = sorted(Path("/sys/class/net").iterdir())
    qdiscs = subprocess.run(["tc", "qdisc"], capture_output=True, text=True, check=True).stdout
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False).stdout
    table = [line for line in rules.splitlines() if line.startswith("-A")]
    return mounts(), links, qdiscs, table


def test_trying_leaves_no_trace_on_the_host_nor_on_disk(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("reads the host's rules, which only root may")
    before = host_state()
    kernel = probe_features(tmp_path)
    assert host_state() == before
    assert list(tmp_path.iterdir()) == []
    assert kernel.has("namespaces")
    assert kernel["veth"].works is not None


def test_the_answer_is_kept_for_the_process(tmp_path: Path) -> None:
    assert probe_features(tmp_path) is probe_features(tmp_path)


def test_an_overlay_cannot_lie_on_a_file_system_that_has_no_xattrs(tmp_path: Path) -> None:
    # The control: /proc carries no upper, so the probe must not say that it does.
    kernel = probe_features(Path("/proc"))
    assert not kernel.has("overlayfs")
    assert kernel["namespaces"].said
