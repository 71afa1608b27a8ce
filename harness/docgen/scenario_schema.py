"""The JSON Schemas of files that people write: scenarios without Python, and topologies."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

import msgspec

from harness.faults.topology_file import TopologyFile
from harness.pytest_plugin.toml_scenario import UNITS, TomlScenario


def scenario_schema() -> str:
    """Return the schema (2020-12) of ``*.chaos.toml`` as text."""
    shape, parts = _components(TomlScenario)
    parts["ExpectTable"]["properties"]["measure"] = {"enum": list(UNITS)}
    return _text("scenario", "swarm-chaos scenario (*.chaos.toml)", shape, parts)


def topology_schema() -> str:
    """Return the schema (2020-12) of the files that ``--topology`` takes as text."""
    return _text("topology", "swarm-chaos topology (--topology FILE)", *_components(TopologyFile))


def _components(kind: type[msgspec.Struct]) -> tuple[dict[str, Any], dict[str, Any]]:
    (shape,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    return shape, parts


def _text(name: str, title: str, shape: dict[str, Any], parts: dict[str, Any]) -> str:
    for part in parts.values():
        part["description"] = " ".join(cleandoc(part.get("description", "")).split())
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:swarm-chaos:{name}:1",
        "title": title,
        **shape,
        "$defs": {name: parts[name] for name in sorted(parts)},
    }
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"
