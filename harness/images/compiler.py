"""A C compiler from Debian's packages: tcc, for the one module that cannot be Python.

    compile_library(debian_compiler(cache), Path("turns.c"), Path("turns.so"))

It is small, runs from the cache as any user, and is the same one on every machine. It comes without
the headers of a C library.
"""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ImageError, MissingError
from harness.images.cache import Cache, Say, silent
from harness.images.portable_program import ProgramRecipe, fits, loader, machine_here, take

KIND = "compiler"
SUITE = "trixie"
_RECIPE = ProgramRecipe(
    SUITE,
    ("tcc",),
    "tcc",
    {"lib/x86_64-linux-gnu/tcc/libtcc1.a": "tcc/libtcc1.a"},
)
_KEY = f"{SUITE}-amd64-r1"
_NEED = 60 << 20  # bytes: packages, their tar, what is kept

_HEADER, _SEGMENT = struct.Struct("<32xQ14xHH"), struct.Struct("<IIQQQQQQ")
_STACK, _READ_WRITE = 0x6474E551, 6


@dataclass(frozen=True)
class DebianCompiler:
    """A compiler in the cache."""

    folder: Path

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments that start it."""
        program = str(self.folder / "bin" / "tcc")
        return (*loader(self.folder, "tcc"), program, f"-B{self.folder / 'tcc'}")


def debian_compiler(cache: Cache, *, say: Say = silent) -> DebianCompiler:
    """Return the compiler of Debian's suite :data:`SUITE`, fetched and verified by apt, cached.

    Needs mmdebstrap and an x86-64 machine, no root; a few MB from the mirror. Errors as in
    :mod:`harness.images.debian`.
    """
    if not fits():
        raise MissingError(
            f"the compiler that is fetched is for x86-64 machines, this one is {machine_here()}",
            hint="virtual time is for x86-64 machines; the namespaces lab is not",
        )
    note: dict[str, object] = {}

    def recipe(folder: Path) -> None:
        say(f"fetching a small C compiler from Debian {SUITE} (once)")
        note.update(take(_RECIPE, folder, say=say).note())

    return DebianCompiler(cache.build(KIND, _KEY, recipe, lambda _: note, need=_NEED))


def compile_library(compiler: DebianCompiler, source: Path, target: Path) -> None:
    """Make the shared library ``target`` of one C file that includes no headers.

    :class:`~harness.errors.ImageError` with what the compiler says.
    """
    arguments = [*compiler.command, "-Wall", "-Werror", "-shared", "-nostdlib"]
    done = subprocess.run(
        [*arguments, "-o", str(target), str(source)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-500:]
        raise ImageError(f"{source.name} cannot be compiled: {said}")
    target.write_bytes(without_executable_stack(target.read_bytes()))


def without_executable_stack(library: bytes) -> bytes:
    """Return a 64-bit ELF file that says that it needs no executable stack.

    tcc writes nothing about it, and a loader takes that for a need: it would make the stack
    executable, or refuse the library where that is not allowed. The table of segments moves to the
    end of the file, with one line more.
    """
    start, size, count = _HEADER.unpack_from(library)
    table = library[start : start + size * count]
    kinds = [_SEGMENT.unpack_from(table, size * number)[0] for number in range(count)]
    if _STACK in kinds:
        return library
    body = bytearray(library + bytes(-len(library) % 8))
    place = len(body)
    body += table + _SEGMENT.pack(_STACK, _READ_WRITE, 0, 0, 0, 0, 0, 16)
    struct.pack_into("<Q", body, 32, place)
    struct.pack_into("<H", body, 56, count + 1)
    return bytes(body)
