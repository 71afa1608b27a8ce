"""``swarm-chaos try``: what it makes of a compose file, what it refuses, and the answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import stored_runs
from stored_runs import STARTED

from harness.cli import main, try_stack
from harness.cli.compose_question import heeded
from harness.cli.try_stack import prepare
from harness.errors import UsageError
from harness.lab import Topology
from harness.report.battery import answer
from harness.results import RunWriter, read_run

pytest.importorskip("yaml", reason="compose files are YAML: `make setup` installs PyYAML")

STACK = """
x-chaos: {entry: front, path: /health, lost: 0.01}
services:
  front:
    image: swarm-chaos/app:1
    depends_on: [store]
    ports: ["9100:8000"]
  store:
    image: swarm-chaos/app:1
    configs: [settings]
configs:
  settings: {file: conf/settings.txt}
"""


@pytest.fixture(autouse=True)
def compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "settings.txt").write_text("x")
    file = tmp_path / "compose.yml"
    file.write_text(STACK)
    return file


def test_a_compose_file_says_where_users_enter_and_what_is_expected(compose: Path) -> None:
    prepared = prepare(compose, "shop", mesh=True)
    asked = json.loads(prepared.question.json())
    assert (asked["entry"], asked["port"], asked["path"], asked["lost"]) == (
        *("front", 9100, "/health", 0.01),
    )
    assert prepared.left_out == ["services.front.depends_on"]
    assert prepared.files["conf/settings.txt"] == b"x"
    assert b"depends_on" not in prepared.files["compose.yml"]


def test_without_a_mesh_a_port_in_ingress_mode_is_no_entry(compose: Path) -> None:
    with pytest.raises(UsageError, match="publishes no TCP port at every node"):
        prepare(compose, "shop", mesh=False)
    compose.write_text(STACK.replace("entry: front, ", ""))
    assert prepare(compose, "shop", mesh=False).question.entry is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("services: [", "line 1.*not YAML"),
        ("version: '3'", "no services"),
        ("services: {a: {image: b}}\nx-chaos: {lost: 7}", "lost is a share"),
        ("services: {a: {image: b}}\nx-chaos: {lots: 7}", "x-chaos.*lots"),
        ("services: {a: {image: b}}\nx-chaos: {path: health}", "begins with /"),
        ("services: {a: {image: b}}\nx-chaos: {users: many}", "x-chaos"),
        ("services: {a: {image: b}}\nx-chaos: {held: 0}", "above 0"),
        ("services: {a: b}", "services.a has no image"),
        ("services: {a: {image: b@sha256:7}}", "no valid digest"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        heeded(text, Path("compose.yml"), lambda _: b"", {})


def test_images_that_nobody_brings_are_named(
    compose: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compose.write_text(STACK.replace("swarm-chaos/app:1", "nginx"))
    assert main.call(["try", "compose.yml"]) == 64
    assert "docker save nginx:latest" in capsys.readouterr().err
    (tmp_path / "bad.tar").write_text("no tar")
    assert main.call(["try", "compose.yml", "--images", "bad.tar"]) == 64
    assert "docker save NAME" in capsys.readouterr().err
    assert main.call(["try", "compose.yml", "--images", "none.tar"]) == 64
    assert not list(tmp_path.glob("try-*"))


def test_how_long_a_fault_lasts_is_the_files_or_the_experiments(compose: Path) -> None:
    assert prepare(compose, "shop", mesh=True).question.held is None
    compose.write_text(STACK.replace("lost: 0.01", "held: 12"))
    assert prepare(compose, "shop", mesh=True).question.held == 12


def test_too_few_users_for_the_nodes_are_refused_beforehand(compose: Path) -> None:
    compose.write_text(STACK.replace("lost: 0.01", "users: 5"))
    with pytest.raises(UsageError, match="5 cannot ask each of 5 nodes"):
        prepare(compose, "shop", mesh=True)
    prepare(compose, "shop", mesh=True, topology=Topology(1, 1))


def test_a_swarm_of_one_node_has_none_to_lose(compose: Path) -> None:
    with pytest.raises(UsageError, match="no node to lose"):
        prepare(compose, "shop", mesh=True, topology=Topology(1))


def test_what_a_stack_cannot_be_put_to_is_said_with_the_reason(compose: Path) -> None:
    said = prepare(compose, "shop", mesh=True).question.not_applicable
    assert set(said) == {"log-collector-gone", "upgrade"}
    assert "gelf" in said["log-collector-gone"]
    gelf = "logging: {driver: gelf, options: {gelf-address: 'udp://logs:12201'}}"
    compose.write_text(STACK.replace("depends_on: [store]", gelf))
    assert not prepare(compose, "shop", mesh=True, next_engine="28.5.2").question.not_applicable


def test_a_log_driver_that_has_nobody_to_send_to_is_left_out(compose: Path) -> None:
    compose.write_text(STACK.replace("depends_on: [store]", "logging: {driver: fluentd}"))
    prepared = prepare(compose, "shop", mesh=True)
    assert any("fluentd" in each for each in prepared.left_out)
    assert prepared.workload.service("front").log is None


def test_an_image_by_digest_gets_a_tag_on_the_nodes(compose: Path) -> None:
    digest = "sha256:" + "ab" * 32
    compose.write_text(STACK.replace("image: swarm-chaos/app:1", f"image: nginx:1.27@{digest}", 1))
    prepared = prepare(compose, "shop", mesh=True)
    assert prepared.workload.service("front").image == "nginx:1.27-abababababab"
    assert [each.digest for each in prepared.images] == [digest, ""]


def test_the_experiments_are_scenarios_that_can_be_collected(compose: Path, tmp_path: Path) -> None:
    try_stack._write(tmp_path / "try-shop", prepare(compose, "shop", mesh=True), None)
    listed = subprocess.run(
        [sys.executable, "-m", "harness.cli", "run", "try-shop", "--co", "-q", "--controls"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert listed.returncode == 0, listed.stdout + listed.stderr
    assert "test_battery.py::test_battery[stable-s1-leader-node-killed]" in listed.stdout
    assert "test_control_never_rolled_back" in listed.stdout


def test_the_answer_sets_the_experiments_side_by_side(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, command=["pytest"], harness="0.1", started=STARTED)
    for name, share in (("nothing", 0.0), ("worker-lost", 0.2)):
        stored_runs.store_trial(
            writer,
            stored_runs.given(scenario=f"test_battery.py::test_battery[{name}]"),
            {"requests lost at the other nodes": share},
            unit="1",
            limit=0.05,
        )
    text = answer(
        read_run(writer.folder),
        "shop",
        titles={"worker-lost": "a worker loses its power"},
        not_applicable={"log-collector-gone": "no service logs to one"},
    )
    assert "1 of 2 experiments went as expected, 1 cost more" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[1:]] == ["| nothing", "| worker-lost"]
    assert "✗" in rows[2]
    assert "**worker-lost** (a worker loses its power)" in text
    assert "**log-collector-gone** is not applicable: no service logs to one." in text
