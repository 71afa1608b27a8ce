"""What a program needs is read from its sources: imports, names of programs, files beside them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

import harness
from harness.snapshots.import_graph import ImportGraph
from harness.snapshots.source_bundle import TRIAL_ENTRIES

HOME = Path(harness.__file__).parent


@pytest.fixture
def graph(tmp_path: Path) -> ImportGraph:
    """A package with one thing of each kind."""
    files = {
        "__init__.py": "",
        "start.py": """
            from typing import TYPE_CHECKING
            import pkg.plain
            from pkg.room import thing
            if TYPE_CHECKING:
                import pkg.typed
            else:
                import pkg.untyped
            def later():
                from pkg import lazy
                run("pkg.program", f"pkg.{thing}", "pkg.program:main", ".relative")
            """,
        **{f"{name}.py": "" for name in ("plain", "typed", "untyped", "lazy", "program", "other")},
        "relative.py": "",
        "room/__init__.py": "from pkg.room.inner import thing",
        "room/inner.py": "import pkg.all.walker; DATA = open('data.txt'); FOLDER = 'scripts'",
        "room/data.txt": "",
        "room/unnamed.txt": "",
        "room/scripts/up.sh": "",
        "room/scripts/__pycache__/up.pyc": "",
        "room/unused.py": "",
        "all/walker.py": "for module in pkgutil.walk_packages([HERE]): pass",
        "all/__init__.py": "",
        "all/deep/__init__.py": "",
        "all/deep/one.py": "",
    }
    for name, text in files.items():
        path = tmp_path / "pkg" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return ImportGraph(tmp_path / "pkg")


def test_imports_programs_and_walked_packages_are_followed(graph: ImportGraph) -> None:
    assert graph.closure(["pkg.start"]) == [
        *("pkg", "pkg.all", "pkg.all.deep", "pkg.all.deep.one", "pkg.all.walker", "pkg.lazy"),
        *("pkg.plain", "pkg.program", "pkg.room", "pkg.room.inner", "pkg.start", "pkg.untyped"),
    ]


def test_data_comes_with_the_module_that_names_it(graph: ImportGraph) -> None:
    data = [path for path in graph.files(["pkg.start"]) if path.suffix != ".py"]
    assert [str(path.relative_to(graph.home)) for path in data] == [
        *("room/data.txt", "room/scripts/up.sh")
    ]


def test_what_only_a_type_checker_sees_can_be_asked_for(graph: ImportGraph) -> None:
    source = graph.modules["pkg.start"].read_text()
    assert "pkg.typed" not in set(graph.imported_by(source))
    assert "pkg.typed" in set(graph.imported_by(source, typing=True))


def test_no_data_of_the_guests_is_left_behind() -> None:
    """A file that no module names would be missing in a guest."""
    graph = ImportGraph(HOME)
    rooms = {Path(*path.relative_to(HOME).parts[:1]) for path in graph.files(TRIAL_ENTRIES)}
    named = set(graph.files(graph.modules))
    lying = {
        path
        for room in rooms
        for path in (HOME / room).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert lying - named == set()
