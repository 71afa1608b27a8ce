"""Reading what the probe of the kernel answered, and the cgroup layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.lab.features import (
    KernelFeatures,
    Tried,
    cgroup_layout,
    parse_answers,
    probe_features,
)


def all_of(*names: str, **otherwise: Any) -> KernelFeatures:
    tried = {name: Tried(True) for name in names}
    return KernelFeatures(tried | otherwise, "v2")


def test_answers_keep_what_was_said_and_tell_untried_from_no() -> None:
    answers = parse_answers(
        "veth\tyes\t\nnetem\tno\tError: Specified qdisc kind is unknown.\n"
        "nftables\tuntried\tno program nft\nnoise from somewhere\nx\tmaybe\ty\n"
    )
    assert answers == {
        "veth": Tried(True, ""),
        "netem": Tried(False, "Error: Specified qdisc kind is unknown."),
        "nftables": Tried(None, "no program nft"),
    }


def test_a_feature_that_was_not_tried_counts_as_not_there() -> None:
    kernel = KernelFeatures({"nftables": Tried(None, "no program nft")}, "v2")
    assert not kernel.has("nftables")
    assert not kernel.has("netem")
    assert kernel["netem"].works is None


@pytest.mark.parametrize(
    ("there", "mesh"),
    [(("ip_vs", "ip_forward"), True), (("ip_vs",), False), (("ip_forward",), False)],
)
def test_the_mesh_needs_ip_vs_and_forwarding_that_new_namespaces_inherit(
    there: tuple[str, ...], mesh: bool
) -> None:
    assert all_of(*there).mesh is mesh


@pytest.mark.parametrize(
    ("mounts", "layout"),
    [
        ("cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n", "v2"),
        ("cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n", "v1"),
        (
            "cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n"
            "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n",
            "hybrid",
        ),
        # systemd's own v1 hierarchy carries no controller: v2 is what counts.
        (
            "cgroup /sys/fs/cgroup/systemd cgroup rw,nosuid,xattr,name=systemd 0 0\n"
            "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
            "v2",
        ),
        ("proc /proc proc rw 0 0\n", "none"),
        ("", "none"),
    ],
)
def test_cgroup_layouts_are_told_apart(mounts: str, layout: str) -> None:
    assert cgroup_layout(mounts) == layout


def test_a_machine_without_unshare_is_an_answer_and_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    kernel = probe_features(tmp_path)
    assert kernel["namespaces"] == Tried(None, "no program unshare")
    assert not kernel.has("namespaces")


def test_a_scratch_folder_that_is_not_there_is_an_answer_and_no_error(tmp_path: Path) -> None:
    kernel = probe_features(tmp_path / "nowhere")
    assert "nowhere" in kernel["namespaces"].said
    assert not kernel.has("namespaces")
