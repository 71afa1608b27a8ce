"""Files that other programs read are as those programs' published schemas want them.

The schemas of GitHub, GitLab and Compose come with check-jsonschema; ours are those in docs/.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import main

REPOSITORY = Path(__file__).parents[2]
SCHEMAS = REPOSITORY / "docs" / "schema"

WORKFLOW = ("--builtin-schema", "vendor.github-workflows")
GITLAB = ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci")
COMPOSE = ("--builtin-schema", "vendor.compose-spec")
OURS = ("--check-metaschema",)


def checked(how: tuple[str, ...], *files: Path) -> subprocess.CompletedProcess[str]:
    """What the checker says of files."""
    argv = [sys.executable, "-m", "check_jsonschema", *how, *map(str, files)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("how", "pattern"),
    [
        (WORKFLOW, ".github/workflows/*.yml"),
        (GITLAB, "examples/nightly/gitlab-ci.yml"),
        (COMPOSE, "examples/**/*.yml"),
        (OURS, "docs/schema/*.json"),
    ],
)
def test_files_of_this_repository_are_as_their_schema(how: tuple[str, ...], pattern: str) -> None:
    files = [
        path for path in REPOSITORY.glob(pattern) if how is GITLAB or "gitlab" not in path.name
    ]
    assert files
    done = checked(how, *files)
    assert done.returncode == 0, done.stdout


def test_the_workflow_that_is_written_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.call(["init"]) == 0
    workflow = tmp_path / ".github/workflows/chaos.yml"
    assert checked(WORKFLOW, workflow).returncode == 0
    workflow.write_text(workflow.read_text().replace("steps:", "step:"))
    assert checked(WORKFLOW, workflow).returncode == 1


@pytest.mark.parametrize(
    ("schema", "page", "begins"),
    [("scenario", "howto.md", "title = "), ("topology", "topologies.md", "name = ")],
)
def test_a_file_in_the_documents_is_as_the_schema_that_editors_get(
    schema: str, page: str, begins: str, tmp_path: Path
) -> None:
    text = (REPOSITORY / "docs" / page).read_text()
    [example] = re.findall(rf"```toml\n({begins}.*?)```", text, flags=re.DOTALL)
    how = ("--schemafile", str(SCHEMAS / f"{schema}.schema.json"))
    file = tmp_path / "example.toml"
    file.write_text(example)
    done = checked(how, file)
    assert done.returncode == 0, done.stdout
    file.write_text(f"unheard-of = 1\n{example}")
    assert checked(how, file).returncode == 1
