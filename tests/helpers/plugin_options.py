"""The plugin's options, read as pytest would have them read, without a pytest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from stand_ins import stand_in

from harness.pytest_plugin.options import Options, declare, read


class Parser:
    """As much of pytest's parser as `declare` asks for: keeps the defaults."""

    def __init__(self) -> None:
        self.defaults: dict[str, Any] = {}

    def getgroup(self, name: str, description: str = "") -> Any:
        return self

    def addoption(
        self, name: str, *, default: str | None = None, action: str | None = None, **settings: str
    ) -> None:
        self.defaults[name] = False if action == "store_true" else default


def given_options(**options: Any) -> Options:
    """Return the options that these, by name, mean."""
    parser: Any = Parser()
    declare(parser)
    values = parser.defaults | {f"--{name}": value for name, value in options.items()}
    invocation = SimpleNamespace(dir=Path("/project"))
    config = SimpleNamespace(getoption=values.__getitem__, invocation_params=invocation)
    return read(stand_in(config))
