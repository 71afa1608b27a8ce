"""The JSON Schemas of ``run.json``, ``trial.json`` and the output of ``compare``.

A schema's number is raised when a reader of the old one would misread the new; new keys alone do
not raise it. Readers must ignore unknown keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from inspect import cleandoc
from typing import Any

import msgspec

from harness.results.comparison import COMPARISON_SCHEMA, Comparison
from harness.results.run import RUN_SCHEMA, RunRecord
from harness.trial import SCHEMA, TrialRecord

PUBLISHED: Mapping[str, tuple[type, int]] = {
    "run": (RunRecord, RUN_SCHEMA),
    "trial": (TrialRecord, SCHEMA),
    "comparison": (Comparison, COMPARISON_SCHEMA),
}
"""The published types, each with its schema number."""


def json_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of ``run``, ``trial`` or ``comparison``."""
    kind, number = PUBLISHED[name]
    (shape,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    main = parts[kind.__name__]
    main["properties"]["schema"] = {"const": number}
    main["required"] = ["schema", *main["required"]]
    _open(parts)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:swarm-chaos:{name}:{number}",
        "title": f"swarm-chaos {name}, schema {number}",
        **shape,
        "$defs": {key: parts[key] for key in sorted(parts)},
    }


def schema_text(name: str) -> str:
    """Return the schema as text, as it is published."""
    return msgspec.json.format(msgspec.json.encode(json_schema(name)), indent=2).decode() + "\n"


def _open(parts: dict[str, Any]) -> None:
    """Allow unknown keys: our own readers are strict, those of others need not be."""
    for part in parts.values():
        part.pop("additionalProperties", None)
        if "description" in part:
            text = re.sub(r":\w+:`~?([^`]+)`", r"\1", cleandoc(part["description"]))
            part["description"] = " ".join(text.replace("``", "`").split())
