"""The published form of what is stored, and that others can read it as it is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pytest
from jsonschema import Draft202012Validator
from optionals import not_none
from stored_runs import store_run

from harness.results.schema import PUBLISHED, json_schema, schema_text

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_schema_is_the_current_one(name: str) -> None:
    path = DOCS / "schema" / f"{name}.schema.json"
    assert path.read_text() == schema_text(name), (
        f"write it again: swarm-chaos results schema {name} > docs/schema/{path.name}; and raise "
        "the schema's number if a reader of the old one would misread the new"
    )


def test_a_schema_names_itself_and_asks_for_what_must_be_there() -> None:
    schema = json_schema("trial")
    assert schema["$id"] == "urn:swarm-chaos:trial:1"
    record = schema["$defs"]["TrialRecord"]
    assert record["properties"]["schema"] == {"const": 1}
    assert {"schema", "id", "inputs", "verdict", "seconds"} <= set(record["required"])
    assert all(part.get("additionalProperties") is not False for part in schema["$defs"].values())


def test_what_is_written_is_as_published(tmp_path: Path) -> None:
    run = store_run(tmp_path, [1.0, None], limit=3.0)
    for name, path in (
        ("run", run.folder / "run.json"),
        ("trial", run.trials[0].folder / "trial.json"),
    ):
        written, published = json.loads(path.read_text()), Draft202012Validator(json_schema(name))
        published.validate(written)
        del written["id"]
        assert not published.is_valid(written)


def test_duckdb_reads_the_store_by_the_queries_in_the_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_run(tmp_path / "reports", [1.0, 3.0, 5.0], version="26.1.5", limit=4.0)
    store_run(tmp_path / "reports", [7.0, 8.0], version="28.5.2", day=2, limit=4.0)
    monkeypatch.chdir(tmp_path)
    queries = re.findall(r"```sql\n(.*?)```", (DOCS / "comparing.md").read_text(), re.DOTALL)
    answers = [not_none(duckdb.sql(query)).fetchall() for query in queries]
    assert answers[0] == [
        ("26.1.5", "time to a new leader", 3, 3.0, "s"),
        ("28.5.2", "time to a new leader", 2, 7.5, "s"),
    ]
    assert answers[1] == [("28.5.2", "fail", 2), ("26.1.5", "fail", 1), ("26.1.5", "pass", 2)]
    assert len(queries) == 2
