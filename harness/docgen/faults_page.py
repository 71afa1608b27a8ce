"""``docs/faults.md``: every fault, its parameters, its proof; planes, targets, schedules."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from harness.docgen.markdown import cell, filled
from harness.faults.catalogue import catalogue, facts_of
from harness.faults.planes import PLANES
from harness.faults.targets import ROLES

_ACTS_ON = {
    "node": "a node",
    "links": "links",
    "service": "an external service",
    "swarm": "the swarm",
}


def faults_page() -> str:
    """The page."""
    facts = [facts_of(kind) for kind in catalogue().values()]
    return filled(
        "faults.md.j2",
        sections=[
            "\n".join(_section(group, list(members)))
            for group, members in groupby(facts, key=lambda each: each["group"])
        ],
        roles={name: meaning for name, (_, meaning) in ROLES.items()},
        planes=PLANES.values(),
    )


def _section(group: str, facts: list[dict[str, Any]]) -> Iterator[str]:
    yield f"## {group.capitalize()}"
    for each in facts:
        yield f"\n### {each['name']}\n"
        yield each["summary"]
        yield ""
        if each["parameters"]:
            yield "| parameter | is | unit | default |"
            yield "|---|---|---|---|"
            for parameter in each["parameters"]:
                yield _parameter(parameter)
            yield ""
        yield f"- acts on {_ACTS_ON[each['acts_on']]}"
        if each["needs"]:
            yield f"- needs {', '.join(each['needs'])}"
        yield f"- evidence: {each['evidence']}"
        if each["excludes"] != [each["name"]]:
            yield f"- excludes other faults on {', '.join(each['excludes'])} of the same target"
        if not each["by_hand"]:
            yield "- by hand only with `--for`: it ends with the process that injects it"


def _parameter(parameter: dict[str, Any]) -> str:
    given = parameter["default"]
    default = "must be given" if given is None else f"`{given}`" if given else "none"
    unit = "a share" if parameter["unit"] == "1" else parameter["unit"] or "-"
    return f"| `{parameter['name']}` | {cell(parameter['help'])} | {unit} | {default} |"
