"""``swarm-chaos repro --new``: a scenario about a thread, made of a recipe."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

from harness.errors import UsageError
from harness.files import write_atomically
from harness.pytest_plugin.toml_scenario import SUFFIX, read_scenario

_THREAD = re.compile(r"(?:(?P<repository>[\w.-]+/[\w.-]+)?#)?(?P<number>\d+)")
_USUAL = "moby/moby"


def new_scenario(written: str, recipe: Path, folder: Path) -> tuple[str, Path]:
    """Write a scenario about a thread into ``folder``; return the thread's name and the file.

    ``written`` is ``owner/repository#number``, or a number of moby/moby. ``recipe`` is a scenario
    without Python that need not say which thread it is about. Raises :class:`UsageError`, with the
    line of what is wrong in the recipe, and writes nothing then.
    """
    match = _THREAD.fullmatch(written)
    if match is None:
        raise UsageError(
            f"{written!r} is not a thread", hint="give it like moby/moby#35849, or its number"
        )
    thread = f"{match['repository'] or _USUAL}#{match['number']}"
    about = read_scenario(recipe).upstream
    if about and thread not in about:
        raise UsageError(
            f"{recipe} is about {', '.join(about)}, and not about {thread}",
            hint="leave out its `upstream`, or add the thread to it",
        )
    text = recipe.read_text(encoding="utf-8")
    if not about:
        text = f"upstream = [{json.dumps(thread)}]\n{text}"
    path = folder / (re.sub(r"\W+", "-", thread) + SUFFIX)
    if path.exists():
        raise UsageError(f"{path} exists already", hint="move it away, or name another --into")
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "pytest.ini"
    if not settings.exists():
        starter = resources.files("harness.cli") / "starter" / "pytest.ini"
        write_atomically(settings, starter.read_text())
    write_atomically(path, text)
    return thread, path
