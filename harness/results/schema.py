"""The published form of ``run.json``, ``trial.json`` and of what ``compare`` writes.

A schema's number goes up when a reader of the old one would misread the new; new keys alone do not
raise it. A reader must let keys pass that it does not know.
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
"""What is published, with its number."""


def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of ``run``, ``trial`` or ``comparison``."""
    kind, number = PUBLISHED[name]
    (shape,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    whole = parts[kind.__name__]
    whole["properties"]["schema"] = {"const": number}
    whole["required"] = ["schema", *whole["required"]]
    _open(parts)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:swarm-chaos:{name}:{number}",
        "title": f"swarm-chaos {name}, schema {number}",
        **shape,
        "$defs": {key: parts[key] for key in sorted(parts)},
    }


def schema_text(name: str) -> str:
    """The schema as it is published."""
    return msgspec.json.format(msgspec.json.encode(json_schema(name)), indent=2).decode() + "\n"


def _open(parts: dict[str, Any]) -> None:
    """This version's readers are strict about some parts; those of the files need not be."""
    for part in parts.values():
        part.pop("additionalProperties", None)
        if "description" in part:
            text = re.sub(r":\w+:`~?([^`]+)`", r"\1", cleandoc(part["description"]))
            part["description"] = " ".join(text.replace("``", "`").split())
