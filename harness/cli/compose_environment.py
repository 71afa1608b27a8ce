"""What a compose file takes from its environment: variables in values, and files of variables.

As Docker's command line does it before a stack is deployed (docker/cli cli/compose/template and
loader), so that what is recorded of a stack says all of it. An unset variable, for which the
command line puts nothing, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import UsageError

#: `$$`, `$NAME`, or `${NAME}` with `-` (a default), `?` (an error) or `+` (instead). A colon before
#: these takes an empty variable for one that is not set.
_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<named>[A-Za-z_]\w*)"
    r"|\{(?P<braced>[A-Za-z_]\w*)(?:(?P<how>:?[-?+])(?P<word>[^{}]*))?\}|(?P<invalid>))",
    re.ASCII,
)

#: Keys whose values are no text (docker/cli cli/compose/loader, interpolateTypeCastMapping, and
#: those of `x-chaos`).
_NO_TEXT = frozenset(
    {
        *("attachable", "disable", "external", "init", "internal", "max_attempts"),
        *("max_failure_ratio", "max_replicas_per_node", "mode", "nocopy", "parallelism"),
        *("published", "read_only", "replicas", "retries", "size", "target"),
        *("back", "held", "lost", "users"),
    }
)

FileReader = Callable[[str], bytes]
"""Returns a file beside the compose file; raises :class:`OSError` if it cannot."""


def filled_in(value: Any, environment: Mapping[str, str], file: str, path: str = "") -> Any:
    """Return a document with the variables in its values replaced.

    What is filled in is no variable again: its dollars are doubled, as a compose file has them.
    Raises :class:`UsageError` with ``file`` and the key for what is not set or no variable.
    """
    if isinstance(value, dict):
        return {
            key: filled_in(each, environment, file, f"{path}.{key}" if path else str(key))
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [filled_in(each, environment, file, path) for each in value]
    if not isinstance(value, str) or "$" not in value:
        return value
    text = _VARIABLE.sub(lambda found: _replaced(found, environment, f"{file}: {path}"), value)
    return _typed(text) if path.rpartition(".")[2] in _NO_TEXT and text != value else text


def _replaced(found: re.Match[str], environment: Mapping[str, str], where: str) -> str:
    if found["escaped"]:
        return found[0]
    name = found["named"] or found["braced"]
    if name is None:
        raise UsageError(
            f"{where}: {found.string!r} has a dollar that begins no variable",
            hint="write $NAME, ${NAME} or ${NAME:-default} (no braces in it), or $$ for a dollar",
        )
    value, how, word = environment.get(name), found["how"] or "", found["word"] or ""
    there = value is not None and (value != "" or not how.startswith(":"))
    if how.endswith("+"):
        return _escaped(word if there else "")
    if value is not None and there:
        return _escaped(value)
    if how.endswith("-"):
        return _escaped(word)
    raise UsageError(
        f"{where}: the variable {name} is not set" + (f": {word}" if word else ""),
        hint=f"run {name}=VALUE swarm-chaos try …, or give it a default: ${{{name}:-VALUE}}",
    )


def _escaped(text: str) -> str:
    return text.replace("$", "$$")


def _typed(text: str) -> Any:
    """Return a number or a truth if the text is one in YAML."""
    import yaml

    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return read if isinstance(read, bool | int | float) else text


def environment_of(
    service: Mapping[str, Any], environment: Mapping[str, str], contents: FileReader, where: str
) -> dict[str, str]:
    """Return a service's variables, those of its ``env_file`` included.

    One without a value takes that of ``environment``, and is left out if that has none. Raises
    :class:`UsageError`, beginning with ``where``, for a file that cannot be read.
    """
    named = service.get("env_file") or []
    made: dict[str, str | None] = {}
    for name in [named] if isinstance(named, str) else named:
        try:
            lines = contents(str(name)).decode().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UsageError(f"{where}.env_file: {name} cannot be read: {reason}") from None
        made |= dict(_pair(_escaped(line)) for line in map(str.lstrip, lines) if _says(line))
    written = service.get("environment") or {}
    if isinstance(written, list):
        made |= dict(_pair(str(each)) for each in written)
    elif isinstance(written, dict):
        made |= {str(key): None if each is None else _text(each) for key, each in written.items()}
    else:
        raise UsageError(f"{where}.environment: give names and values, or a list of NAME=VALUE")
    inherited = {name: _escaped(environment[name]) for name in made if name in environment}
    return inherited | {name: value for name, value in made.items() if value is not None}


def _says(line: str) -> bool:
    return bool(line) and not line.startswith("#")


def _pair(line: str) -> tuple[str, str | None]:
    name, equals, value = line.partition("=")
    return name, value if equals else None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
