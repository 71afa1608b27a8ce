"""What a wheel has besides the package: the scenarios, laid out as in a checkout.

So ``swarm-chaos run`` works without a checkout, and a trial of it has the inputs of one from there.
An editable installation is a checkout and needs no copy.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGED = ("scenarios", "conftest.py", "pyproject.toml")


class PackagedScenarios(BuildHookInterface):
    """Adds them to the files of a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files, and where in the wheel they go."""
        if version == "standard":
            build_data["force_include"].update(
                {name: f"harness/packaged/{name}" for name in PACKAGED}
            )
