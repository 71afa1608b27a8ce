"""The helper that reads the host: nothing that counts down, nothing that another test builds."""

from __future__ import annotations

from pathlib import Path

import host
import pytest


def test_seconds_that_count_down_are_left_out() -> None:
    address = "2: eth0 inet 10.0.0.4/24 dynamic eth0\\ valid_lft {0}sec preferred_lft {0}sec"
    now, later = (host.without_lifetimes(address.format(seconds)) for seconds in (86_000, 85_990))
    assert now == later == "2: eth0 inet 10.0.0.4/24 dynamic eth0\\"
    route = "default via fe80::1 dev eth0 proto ra metric 100 expires 1790sec pref medium"
    assert host.without_lifetimes(route).endswith("metric 100 pref medium")


def test_mounts_of_a_build_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_CHAOS_CACHE", str(tmp_path / "cache"))
    lines = ["proc /proc proc rw 0 0", f"proc {tmp_path}/cache/base-tree/.x/proc proc rw 0 0"]
    monkeypatch.setattr(Path, "read_text", lambda _: "\n".join(lines))
    assert host.mounts() == lines[:1]
