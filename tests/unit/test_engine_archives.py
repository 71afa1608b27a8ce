"""Docker's static archives, from a server of our own that also cuts off, lies, and falls silent."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from optionals import not_none
from plain_roots import fake_root_tar

from harness.engine import archives, cached, provide_facts, provide_tar, resolve
from harness.engine.archives import ArchiveSite, archive_name, newest, provide_binaries
from harness.errors import EngineError, UsageError
from harness.images import Cache

TODAY = ("dockerd", "docker", "containerd", "runc")
OF_2017 = ("dockerd", "docker", "docker-containerd", "docker-runc")


def packed(version: str, names: tuple[str, ...] = TODAY, folder: str = "docker/") -> bytes:
    """An archive as Docker packs them, of scripts that say their version."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name in names:
            content = script(name, version)
            member = tarfile.TarInfo(f"{folder}{name}")
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def script(name: str, version: str) -> bytes:
    """A program that says its version, and to which release's archive it belongs."""
    text = "containerd v1.7.1 abc" if "containerd" in name else f"Docker version {version}"
    return f"#!/bin/sh\n# {version}\necho '{text}, build 1'\n".encode()


class Server(ThreadingHTTPServer):
    """Serves ``files`` by path; an answer may be a function that writes one of its own."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
        elif isinstance(content, bytes):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        else:
            content(self)

    def log_message(self, *_: object) -> None:
        """Keep the terminal clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("SWARM_CHAOS_ARCHIVES", server.address)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def path_of(release: str, channel: str = "stable") -> str:
    return f"/{channel}/{ArchiveSite('').machine}/{archive_name(release)}"


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("27.3.1", "docker-27.3.1.tgz"),
        ("v18.09.0", "docker-18.09.0.tgz"),
        ("17.05.0", "docker-17.05.0-ce.tgz"),
        ("17.05.0-ce", "docker-17.05.0-ce.tgz"),
        ("18.06.3-ce", "docker-18.06.3-ce.tgz"),
        ("17.06.0-ce-rc5", "docker-17.06.0-ce-rc5.tgz"),
        ("28.0.0-rc.1", "docker-28.0.0-rc.1.tgz"),
    ],
)
def test_an_archive_is_named_as_docker_names_it(release: str, name: str) -> None:
    assert archive_name(release) == name


@pytest.mark.parametrize(
    ("release", "names", "channel"), [("27.3.1", TODAY, "stable"), ("17.05.0", OF_2017, "edge")]
)
def test_an_archive_is_fetched_once_from_the_channel_that_has_it(
    server: Server, cache: Cache, release: str, names: tuple[str, ...], channel: str
) -> None:
    server.files[path_of(release, channel)] = packed(release, names)
    told: list[str] = []
    folder = provide_binaries(release, cache, say=told.append)
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert all(path.stat().st_mode & 0o777 == 0o755 for path in folder.iterdir())
    assert told == [f"fetching {server.address}{path_of(release, channel)}"]
    asked = len(server.asked)
    assert provide_binaries(release, cache) == folder
    assert len(server.asked) == asked


def test_a_folder_serves_as_well(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/docker-27.3.1.tgz").write_bytes(packed("27.3.1"))
    (tmp_path / "mirror/docker-27.10.0.tgz").write_bytes(packed("27.10.0"))
    monkeypatch.setenv("SWARM_CHAOS_ARCHIVES", str(tmp_path / "mirror"))
    assert ArchiveSite.from_environment().releases() == ["27.3.1", "27.10.0"]
    assert (provide_binaries("27.3.1", cache) / "dockerd").exists()
    assert (provide_binaries("27", cache).parent.name).startswith("27.10.0-")


def cut_off(handler: BaseHTTPRequestHandler) -> None:
    content = packed("27.3.1")
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[:-40])


def in_trouble(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(503)


def member(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    return file.getvalue()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (cut_off, "could not be fetched: it"),
        (in_trouble, "it answered 503"),
        (b"<html>a portal that wants a password</html>", "cut off or not a gzipped tar"),
        (packed("27.3.1")[:-40], "cut off or not a gzipped tar"),
        (member("docker/../../../etc/cron.d/x"), "'docker/../../../etc/cron.d/x'"),
        (member("/etc/cron.d/x"), "'/etc/cron.d/x'"),
        (member("docker/dockerd", tarfile.SYMTYPE), "'docker/dockerd'"),
        (member("docker/dockerd", tarfile.CHRTYPE), "'docker/dockerd'"),
    ],
)
def test_a_bad_answer_is_a_sentence_and_leaves_nothing(
    server: Server,
    cache: Cache,
    answer: bytes | Callable[[BaseHTTPRequestHandler], None],
    said: str,
) -> None:
    server.files[path_of("27.3.1")] = answer
    with pytest.raises(EngineError, match=server.address) as caught:
        provide_binaries("27.3.1", cache)
    assert said in caught.value.what
    assert caught.value.hint
    assert cache.entries() == []
    assert cache.half_built() == []


def test_a_server_that_falls_silent_is_left(
    server: Server, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = threading.Event()

    def silent_after_a_byte(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"\x1f")
        handler.wfile.flush()
        given_up.wait()

    monkeypatch.setattr(archives, "_SILENT_FOR", 0.2)
    server.files[path_of("27.3.1")] = silent_after_a_byte
    with pytest.raises(EngineError, match="could not be fetched"):
        provide_binaries("27.3.1", cache)
    given_up.set()
    assert cache.entries() == []


def test_a_release_that_is_nowhere_says_where_it_was_looked_for(
    server: Server, cache: Cache
) -> None:
    with pytest.raises(EngineError, match=r"no archive of Docker 27\.9\.9") as caught:
        provide_binaries("27.9.9", cache)
    for channel in ("stable", "edge", "test"):
        assert f"{server.address}{path_of('27.9.9', channel)}" in caught.value.what
    assert "dir:PATH" in not_none(caught.value.hint)


def test_a_site_that_cannot_be_reached_says_its_address(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARM_CHAOS_ARCHIVES", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(EngineError, match=r"http://127\.0\.0\.1:1/stable/.*refused") as caught:
        provide_binaries("27.3.1", cache)
    assert "SWARM_CHAOS_ARCHIVES" in not_none(caught.value.hint)


def test_an_archive_that_has_changed_is_refused(server: Server, cache: Cache) -> None:
    server.files[path_of("27.3.1")] = packed("27.3.1")
    folder = provide_binaries("27.3.1", cache)
    cache.remove(archives.KIND, folder.parent.name)
    server.files[path_of("27.3.1")] = packed("27.3.1", (*TODAY, "more"))
    with pytest.raises(EngineError, match="is not what it was on 2") as caught:
        provide_binaries("27.3.1", cache)
    seen = cache.root / archives.SEEN_FILE
    assert str(seen) in not_none(caught.value.hint)
    seen.write_text(json.dumps({}))
    assert (provide_binaries("27.3.1", cache) / "more").exists()


INDEX = b"""<a href="docker-17.03.0-ce.tgz">x</a> <a href="docker-26.1.3.tgz">docker-26.1.3.tgz</a>
<a href="docker-26.1.10.tgz">x</a> <a href="docker-rootless-extras-26.1.11.tgz">x</a>
<a href="docker-27.0.1.tgz">x</a> <a href="../">up</a>"""


def test_the_newest_of_a_line_is_taken_from_the_index(server: Server, cache: Cache) -> None:
    site = ArchiveSite.from_environment()
    server.files[f"/stable/{site.machine}/"] = INDEX
    assert site.releases() == ["17.03.0", "26.1.3", "26.1.10", "27.0.1"]
    assert newest("26.1", site, cache) == "26.1.10"
    assert newest("26", site, cache) == "26.1.10"
    assert newest("27.*", site, cache) == "27.0.1"
    with pytest.raises(UsageError, match=r"lists no such release") as caught:
        newest("25.0", site, cache)
    assert "from 17.03.0 to 27.0.1" in not_none(caught.value.hint)


def test_without_the_index_the_cache_serves_and_says_so(server: Server, cache: Cache) -> None:
    for release in ("26.1.3", "26.1.10"):
        server.files[path_of(release)] = packed(release)
        provide_binaries(release, cache)
    told: list[str] = []
    site = ArchiveSite.from_environment()
    assert newest("26.1", site, cache, say=told.append) == "26.1.10"
    assert "taking the newest 26.1 of the cache" in told[0]
    with pytest.raises(EngineError, match="could not be fetched"):
        newest("27", site, cache)


def test_an_engine_of_an_archive_insists_on_its_release(
    server: Server, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.engine.roots.os.geteuid", lambda: 1000)
    spec = resolve("27.3.1")
    assert cached(spec, cache) == []
    server.files[path_of("27.3.1")] = packed("27.3.2")
    with pytest.raises(EngineError, match=r"the archive of 27\.3\.1 .* it is 27\.3\.2"):
        provide_facts(spec, cache_with_a_base(cache, monkeypatch))


def test_an_archive_gives_an_engine_that_says_where_it_is_from(
    server: Server, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.engine.roots.os.geteuid", lambda: 1000)
    server.files[path_of("17.05.0", "edge")] = packed("17.05.0-ce", OF_2017)
    spec = resolve("17.05.0-ce")
    facts = provide_facts(spec, cache_with_a_base(cache, monkeypatch))
    assert (facts.version, facts.source) == ("17.05.0", "archive:17.05.0")
    assert (facts.name, facts.cgroups) == ("17.05.0-ce", "v1")
    assert len(cached(spec, cache)) == 1


def test_a_component_of_another_archive_lies_ahead_in_the_path(
    server: Server, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.engine.roots.os.geteuid", lambda: 1000)
    for release in ("27.3.1", "28.0.1"):
        server.files[path_of(release)] = packed(release)
    server.files[path_of("17.12.0")] = packed("17.12.0-ce", OF_2017)
    spec = resolve("28.0.1+containerd=27.3.1")
    assert cached(spec, cache) == []
    tar = provide_tar(spec, cache_with_a_base(cache, monkeypatch))
    with tarfile.open(tar) as archive:
        names = [member.name for member in archive]
        last = {member.name: member for member in archive}["./usr/local/bin/containerd"]
        assert (not_none(archive.extractfile(last)).read()) == script("containerd", "27.3.1")
    assert names.count("./usr/local/bin/containerd") == 2, "what is unpacked last stays"
    assert names.count("./usr/local/bin/runc") == 1
    [entry] = cached(spec, cache)
    assert entry.path == tar.parent
    facts = provide_facts(spec, cache)
    assert (facts.version, facts.name) == ("28.0.1+containerd-27.3.1", spec.name)
    assert facts.source == "archive:28.0.1, containerd of archive:27.3.1"
    with pytest.raises(EngineError, match=r"17\.12\.0, whose files have other names"):
        provide_facts(resolve("28.0.1+runc=17.12.0"), cache)


def cache_with_a_base(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """The cache, with a plain Debian root that takes no mirror to build."""
    monkeypatch.setattr("harness.engine.roots.root_tar", fake_root_tar)
    return cache
