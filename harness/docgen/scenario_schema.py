"""The JSON Schema of scenarios without Python, for editors."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

import msgspec

from harness.pytest_plugin.toml_scenario import UNITS, TomlScenario


def scenario_schema() -> str:
    """Return the schema (2020-12) of ``*.chaos.toml`` as text."""
    (shape,), parts = msgspec.json.schema_components([TomlScenario], ref_template="#/$defs/{name}")
    parts["ExpectTable"]["properties"]["measure"] = {"enum": list(UNITS)}
    for part in parts.values():
        part["description"] = " ".join(cleandoc(part.get("description", "")).split())
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:swarm-chaos:scenario:1",
        "title": "swarm-chaos scenario (*.chaos.toml)",
        **shape,
        "$defs": {name: parts[name] for name in sorted(parts)},
    }
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"
