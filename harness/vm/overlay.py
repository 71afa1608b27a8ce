"""A checkpoint's pages over its base's memory, inside QEMU. ``overlay.c``, beside this, does it."""

from __future__ import annotations

from pathlib import Path

from harness.errors import MicrovmError
from harness.images import Cache, Say, silent
from harness.images.compiler import compile_library, debian_compiler
from harness.vm import content_hash

_SOURCE = Path(__file__).with_name("overlay.c")
_VARIABLE = "SWARM_CHAOS_OVERLAY"
_LIBRARY = "overlay.so"


class Overlay:
    """What makes the memory of one QEMU that of the checkpoint in ``pages``, a folder.

    ``folder`` is that QEMU's own.
    """

    #: The state of the devices was saved without a section on the machine.
    switches = ("-global", "migration.send-configuration=off")

    def __init__(self, pages: Path, cache: Cache, folder: Path, *, say: Say = silent) -> None:
        # By names without a space or a colon: see Lockstep.
        self._pages = folder / "overlay"
        self._pages.symlink_to(pages)
        self.library = folder / _LIBRARY
        self.library.symlink_to(_provide_library(cache, say))

    @property
    def environment(self) -> str:
        """The variable that QEMU is to be started with."""
        return f"{_VARIABLE}={self._pages}"

    def check(self, pid: int) -> None:
        """Raise :class:`MicrovmError` unless QEMU has the checkpoint's pages in its memory."""
        mapped = Path(f"/proc/{pid}/maps").read_text()
        for pages in self._pages.resolve().glob("*.pages"):
            if pages.stat().st_size and f" {pages}\n" not in mapped:
                raise MicrovmError(
                    f"this QEMU did not take the checkpoint's {pages.name}",
                    hint="a checkpoint needs a QEMU that is linked dynamically",
                )


def _provide_library(cache: Cache, say: Say) -> Path:
    digest = content_hash.of_bytes(_SOURCE.read_bytes())

    def recipe(folder: Path) -> None:
        compile_library(debian_compiler(cache, say=say), _SOURCE, folder / _LIBRARY)

    return cache.build("overlay", digest[:24], recipe, {"source": digest}) / _LIBRARY
