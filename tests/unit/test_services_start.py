"""A server's program starts fast: it imports itself and nothing of the harness beside it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("program", ["gelf_sink", "name_server", "registry_proxy"])
def test_a_program_imports_nothing_but_the_programs(program: str) -> None:
    code = (
        f"import sys, harness.services.servers.{program}\n"
        "print(*(n for n in sys.modules if n.startswith('harness.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split()) - {"harness.services", "harness.services.servers"}
    assert f"harness.services.servers.{program}" in imported
    assert {name for name in imported if not name.startswith("harness.services.servers.")} == set()
