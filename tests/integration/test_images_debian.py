"""Kernels and workload images from a real mirror, and the programs running in their image."""

from __future__ import annotations

import ctypes
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optionals import not_none

from harness.errors import ImageError
from harness.images import WORKLOAD_TAGS, Cache, DebianRecipe, extracted_tar, workload_archive
from harness.images.kernel import debian_kernel
from harness.wait import NotYet, wait_for

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def archive() -> Path:
    return workload_archive(Cache())


def test_a_kernel_has_what_a_guest_needs() -> None:
    kernel = debian_kernel("trixie", Cache())
    assert re.match(r"6\.12\.", kernel.version)
    assert kernel.version.startswith("6.12.")
    assert kernel.vmlinuz.read_bytes()[514:518] == b"HdrS"
    assert "CONFIG_EXT4_FS=y" in kernel.config.read_text()
    listed = (kernel.modules / "modules.dep").read_text()
    for module in ("sch_netem", "ip_vs", "vxlan", "overlay", "nd_pmem", "virtio_blk"):
        assert f"/{module}.ko" in listed


def test_a_package_that_is_not_there_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def recipe(work: Any) -> None:
        extracted_tar(DebianRecipe("trixie", ("no-such-package-at-all",)), work / "tar")

    with pytest.raises(ImageError, match="no-such-package-at-all"):
        cache.build("k", "k", recipe, {})
    assert [path.name for path in (tmp_path / "k").iterdir()] == [".k.lock"]


def test_a_mirror_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        mirror = f"http://127.0.0.1:{closed.getsockname()[1]}/debian"
        monkeypatch.setenv("SWARM_CHAOS_MIRROR", mirror)
        with pytest.raises(ImageError, match="cannot be reached") as caught:
            extracted_tar(DebianRecipe("trixie", ("libc6",)), tmp_path / "tar")
    assert mirror in caught.value.what


def test_two_builds_are_equal_to_the_byte(tmp_path: Path) -> None:
    # Both new: the one in the user's cache may be of a mirror that has moved on since.
    archives = [workload_archive(Cache(tmp_path / name)) for name in ("one", "other")]
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in archives}
    assert len(digests) == 1


def test_the_images_are_small_and_share_their_base(archive: Path) -> None:
    assert archive.stat().st_size < 60 << 20
    with tarfile.open(archive) as tar:
        manifest = json.load(not_none(tar.extractfile("manifest.json")))
    assert [image["RepoTags"][0] for image in manifest] == list(WORKLOAD_TAGS.values())
    assert len({image["Layers"][0] for image in manifest}) == 1


class Container:
    """An image's program as PID 1 of a PID namespace, in a network namespace of the test's."""

    def __init__(
        self, root: Path, name: Any, environment: Any, arguments: tuple[Any, ...] = ()
    ) -> None:
        with tarfile.open(workload_archive(Cache())) as tar:
            images = {
                image["RepoTags"][0]: image
                for image in json.load(not_none(tar.extractfile("manifest.json")))
            }
            config = json.load(not_none(tar.extractfile(images[WORKLOAD_TAGS[name]]["Config"])))[
                "config"
            ]
            for layer in images[WORKLOAD_TAGS[name]]["Layers"]:
                subprocess.run(
                    ["tar", "-x", "-C", root],
                    input=not_none(tar.extractfile(layer)).read(),
                    check=True,
                )
        os.mknod(root / "dev/null", 0o666 | 0o020000, os.makedev(1, 3))
        (root / "dev/stdout").symlink_to("/proc/self/fd/1")
        (root / "etc/hosts").write_text("127.0.0.1 localhost web\n")
        (root / "etc/resolv.conf").write_text("nameserver 127.0.0.11\n")
        self.stop_signal = signal.Signals[config["StopSignal"]]
        self.log = root.parent / f"{root.name}.log"
        inside = f'mount -t proc proc "{root}/proc" && exec unshare --root="{root}" --wd=/srv "$@"'
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--pid", "--mount", "--fork", "--kill-child", "sh", "-c", inside, "sh"]
                + config["Entrypoint"]
                + list(arguments),
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> Any:
        if self.process.poll() is None:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            os.kill(int(children.read_text().split()[0]), self.stop_signal)
        return self.process.wait(10)


@pytest.fixture
def own_network() -> Iterator[None]:
    """The thread's own network namespace, with loopback up: nothing of the host's is touched."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if libc.unshare(0x40000000):
        os.close(home)
        pytest.skip("needs root")
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        assert libc.setns(home, 0x40000000) == 0
        os.close(home)


@pytest.fixture
def run(tmp_path: Path, own_network: None) -> Iterator[Callable[..., Any]]:
    started: list[Any] = []

    def start(name: Any, environment: Any, arguments: tuple[Any, ...] = ()) -> Container:
        root = tmp_path / f"{name}{len(started)}"
        root.mkdir()
        started.append(Container(root, name, environment, arguments))
        result: Container = started[-1]
        return result

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()
    for folder in tmp_path.iterdir():
        shutil.rmtree(folder, ignore_errors=True)


def get(port: int, path: str = "/") -> Any:
    def once() -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        except ConnectionRefusedError:
            return NotYet("refused")
        finally:
            connection.close()

    return wait_for(once, state=f"an answer on port {port}", within=20)


def test_the_balancer_serves_the_app_and_says_who_failed(run: Callable[..., Any]) -> None:
    app = run("app", {"TASK_NAME": "web.1", "NODE_NAME": "w1"})
    balancer = run("balancer", {"UPSTREAM": "127.0.0.1", "NODE_NAME": "m1"})
    assert get(8000)[0] == 200
    status, headers, body = get(8080)
    assert (status, json.loads(body)["task"]) == (200, "web.1")
    assert (headers["X-Task"], headers["X-Node"], headers["X-Balancer"]) == ("web.1", "w1", "m1")
    assert app.stop() == 0
    status, headers, _ = get(8080)
    assert (status, headers["X-Upstream"]) == (502, "127.0.0.1:8000")
    assert get(8080, "/balancer-health")[0] == 200
    assert balancer.stop() == 0
    lines = [json.loads(line) for line in balancer.log.read_text().splitlines() if line[0] == "{"]
    assert [line["upstream_status"] for line in lines] == ["200", "502"]
    assert [line["upstream_addr"] for line in lines] == ["127.0.0.1:8000"] * 2
    assert app.log.read_text() == ""


def test_the_logwriter_writes_and_tells(run: Callable[..., Any]) -> None:
    writer = run("logwriter", {"LINES_PER_SECOND": "200", "LINE_BYTES": "100"})

    def enough() -> Any:
        stats = json.loads(get(8001, "/stats")[2])
        return stats if stats["written"] >= 100 else NotYet(str(stats))

    wait_for(enough, state="100 lines", within=10)
    assert writer.stop() == 0
    lines = writer.log.read_bytes().splitlines(keepends=True)
    assert {len(line) for line in lines} == {100}
    assert [int(line.split()[0][4:]) for line in lines] == list(range(len(lines)))


def test_the_resolver_knows_hosts_by_libc_and_says_that_dns_is_silent(
    run: Callable[..., Any],
) -> None:
    resolver = run("resolver", {"NAMES": "web, nosuch", "INTERVAL": "0.1"})

    def both() -> Any:
        names = json.loads(get(8002)[2])["names"]
        return names if len(names) == 2 else NotYet(str(names))

    names = wait_for(both, state="both names asked for", within=10)
    assert names["web"]["libc"]["addresses"] == ["127.0.0.1"]
    assert names["nosuch"]["libc"]["error"]
    assert names["web"]["dns"]["error"]
    assert resolver.stop() == 0


def test_the_resolver_asks_once_for_arguments(run: Callable[..., Any]) -> None:
    once = run("resolver", {}, ["web"])
    assert once.process.wait(20) == 0
    assert json.loads(once.log.read_text())["web"]["libc"]["addresses"] == ["127.0.0.1"]


def test_a_balancer_without_upstream_says_so(run: Callable[..., Any]) -> None:
    balancer = run("balancer", {})
    assert balancer.process.wait(20) == 64
    assert "UPSTREAM" in balancer.log.read_text()
