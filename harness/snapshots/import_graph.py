"""Which files of the harness a program needs, read from the sources and not from a list.

A module needs what it imports, inside functions too (behind ``TYPE_CHECKING`` nothing is
imported), and the packages above it. Some needs are no import:

- a module that is started by its whole dotted name: ``"harness.load.locustfile"``;
- files that a module finds next to itself by their name: ``with_name("scripts")``;
- all modules of its own package, for a module that calls ``pkgutil.walk_packages``.

A name that is put together, or relative, is not followed. That is how a module names one that
is the other side's of the virtual machine.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path


class ImportGraph:
    """The modules of the package whose folder is ``home``, and what each of them needs."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.modules = {self._name_of(path): path for path in sorted(home.rglob("*.py"))}
        """Each module's file, by the module's dotted name."""

    def closure(self, entries: Iterable[str]) -> list[str]:
        """Return the names of all modules that ``entries`` need, themselves included, sorted."""
        found: set[str] = set()
        waiting = list(entries)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self._needed_by(name))
        return sorted(found)

    def files(self, entries: Iterable[str]) -> list[Path]:
        """Return the files of those modules, and of their data, sorted."""
        modules = [self.modules[name] for name in self.closure(entries)]
        data = [file for module in modules for file in self._data_of(module)]
        return sorted({*modules, *data})

    def imported_by(self, source: str, *, typing: bool = False) -> Iterator[str]:
        """Yield the modules of the package that a source text imports.

        With ``typing`` those behind ``TYPE_CHECKING`` too.
        """
        for node in _nodes(_parsed(source), typing=typing):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if alias.name in self.modules)
            elif isinstance(node, ast.ImportFrom) and node.module in self.modules:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield inner if inner in self.modules else node.module

    def _name_of(self, path: Path) -> str:
        parts = path.relative_to(self.home.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def _needed_by(self, name: str) -> Iterator[str]:
        above = name.rpartition(".")[0]
        if above in self.modules:  # a folder of programs is no package
            yield above
        source = self.modules[name].read_text(encoding="utf-8")
        yield from self.imported_by(source)
        for node in _nodes(_parsed(source)):
            if isinstance(node, ast.Constant) and node.value in self.modules:
                yield str(node.value)
            elif isinstance(node, ast.Attribute) and node.attr == "walk_packages":
                yield from (module for module in self.modules if module.startswith(f"{above}."))

    def _data_of(self, module: Path) -> Iterator[Path]:
        """Yield what lies next to a module and is named in it: a file, or all files of a folder."""
        named = {
            node.value
            for node in _nodes(_parsed(module.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        for beside in module.parent.iterdir():
            if beside.name not in named or (beside / "__init__.py").exists():
                continue
            yield from _plain_files(beside) if beside.is_dir() else [beside]


def _plain_files(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc":
            yield file


@cache
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


def _nodes(tree: ast.AST, *, typing: bool = False) -> Iterator[ast.AST]:
    """All nodes of a tree; without ``typing`` those that run only for a type checker left out."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if not typing and isinstance(node, ast.If) and _is_type_checking(node.test):
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
