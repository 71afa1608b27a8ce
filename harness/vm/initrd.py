"""The initial RAM disk: a busybox, the modules that make pmem appear, and a script.

Written here byte by byte (the kernel's "newc" cpio format), so it needs no root, no host tool,
and the same inputs give the same bytes.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MicrovmError

_S_IFDIR = 0o040000
_S_IFREG = 0o100000
_S_IFCHR = 0o020000


@dataclass(frozen=True)
class Entry:
    """One file of a cpio archive; ``device`` is (major, minor) of a character device."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(name: str) -> Entry:
    """Return a directory, 0755."""
    return Entry(name, _S_IFDIR | 0o755)


def regular(name: str, data: bytes, *, executable: bool = False) -> Entry:
    """Return a regular file, 0755 or 0644."""
    return Entry(name, _S_IFREG | (0o755 if executable else 0o644), data)


def character_device(name: str, major: int, minor: int) -> Entry:
    """Return a character device, 0600."""
    return Entry(name, _S_IFCHR | 0o600, device=(major, minor))


def cpio(entries: Iterable[Entry]) -> bytes:
    """Return a cpio archive in the kernel's newc format; parents must precede their children."""
    out = bytearray()
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)]):
        name = entry.name.encode() + b"\0"
        fields = (
            number, entry.mode, 0, 0, 1, 0, len(entry.data),
            0, 0, *entry.device, len(name), 0,
        )  # fmt: skip
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += b"\0" * (-len(out) % 4)
        out += entry.data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def module_bytes(path: Path) -> bytes:
    """Return a kernel module as the kernel takes it: decompressed where Debian ships it as xz."""
    try:
        data = path.read_bytes()
        return lzma.decompress(data) if path.suffix == ".xz" else data
    except (OSError, lzma.LZMAError) as error:
        raise MicrovmError(f"the kernel module {path} cannot be read: {error}") from error


def parse_modules_dep(text: str) -> dict[str, list[str]]:
    """Return ``modules.dep`` as file to needed files, all relative to the modules folder."""
    table: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, colon, needs = line.partition(":")
        if colon:
            table[name.strip()] = needs.split()
    return table


def load_order(table: Mapping[str, Sequence[str]], wanted: Sequence[str]) -> list[str]:
    """Files to load for the modules ``wanted`` (names without suffix), dependencies first.

    A wanted module that the table does not know is taken as built in and left out.
    Names are compared the kernel's way: ``-`` and ``_`` are the same.
    """
    by_name = {_module_name(file): file for file in table}
    order: list[str] = []

    def add(file: str, above: tuple[str, ...]) -> None:
        if file in above:
            raise MicrovmError(f"kernel module {file} depends on itself through {above}")
        for need in table.get(file, ()):
            add(need, (*above, file))
        if file not in order:
            order.append(file)

    for name in wanted:
        file = by_name.get(name.replace("-", "_"))
        if file is not None:
            add(file, ())
    return order


def _module_name(file: str) -> str:
    return Path(file).name.split(".ko")[0].replace("-", "_")
