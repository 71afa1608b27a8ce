"""``swarm-chaos engines``: what is known, what is cached and how sound it is; fetch one."""

from __future__ import annotations

import os

import click
import msgspec

from harness.engine.catalogue import KNOWN, KnownEngine, resolve
from harness.engine.roots import (
    TAR_KIND,
    TREE_KIND,
    EngineFacts,
    cached,
    facts_of,
    provide_facts,
)
from harness.errors import EngineError, ImageError
from harness.images import Cache, Entry
from harness.images.cache import REBUILD_HINT

_FORMS = {TREE_KIND: "tree", TAR_KIND: "tar"}


class Form(msgspec.Struct, frozen=True):
    """One form of an engine in the cache."""

    form: str
    """``tree`` (for nodes as namespaces) or ``tar`` (for the guest)."""
    path: str
    bytes: int
    made: str
    sound: bool
    """Whether it is as it was built; every byte is read only with ``--verify``."""
    damage: list[str]


class Row(msgspec.Struct, frozen=True):
    """One engine, known or found in the cache."""

    name: str
    """What to ask for."""
    aliases: list[str]
    suite: str | None
    cached: list[Form]
    version: str | None
    """Read back from the binary; None while it is not cached."""
    source: str | None
    digest: str | None


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
@click.option("--verify", is_flag=True, help="Read every byte of what is cached; exit 2 on damage.")
@click.option("--fetch", metavar="NAME", help="Build this engine first, if it is not cached.")
def engines(as_json: bool, verify: bool, fetch: str | None) -> None:
    """List Docker Engines: known names, what is cached, how large, from where."""
    cache = Cache(say=_say)
    if fetch is not None:
        provide_facts(resolve(fetch), cache, say=_say)
    rows = [_known(known, cache, verify) for known in KNOWN] + _from_folders(cache, verify)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
    else:
        _print_table(rows, cache)
    damage = [line for row in rows for form in row.cached for line in form.damage]
    if verify and damage:
        raise ImageError(f"the cache is damaged: {'; '.join(damage)}", hint=REBUILD_HINT)


def _known(known: KnownEngine, cache: Cache, verify: bool) -> Row:
    entries = cached(resolve(known.aliases[0] if known.aliases else known.version), cache)
    return _row(known.version, list(known.aliases), known.suite, entries, verify)


def _from_folders(cache: Cache, verify: bool) -> list[Row]:
    """Engines that were once given as ``dir:PATH`` and are still cached."""
    by_key: dict[str, list[Entry]] = {}
    for entry in cache.entries():
        if entry.manifest.kind in _FORMS and entry.manifest.key.startswith("dir-"):
            by_key.setdefault(entry.manifest.key, []).append(entry)
    rows = []
    for key, entries in sorted(by_key.items()):
        facts = _facts(entries)
        rows.append(_row(facts.source if facts else key, [], None, entries, verify))
    return rows


def _row(
    name: str, aliases: list[str], suite: str | None, entries: list[Entry], verify: bool
) -> Row:
    facts = _facts(entries)
    return Row(
        name=name,
        aliases=aliases,
        suite=suite,
        cached=[_form(entry, verify) for entry in entries],
        version=facts.version if facts else None,
        source=facts.source if facts else None,
        digest=facts.digest if facts else None,
    )


def _form(entry: Entry, verify: bool) -> Form:
    damage = entry.damage(contents=verify)
    manifest = entry.manifest
    return Form(
        _FORMS[manifest.kind], str(entry.path), manifest.size, manifest.made, not damage, damage
    )


def _facts(entries: list[Entry]) -> EngineFacts | None:
    for entry in entries:
        try:
            return facts_of(entry)
        except EngineError:
            continue
    return None


def _print_table(rows: list[Row], cache: Cache) -> None:
    table = [("ENGINE", "ALSO", "FOUND", "CACHED AS", "SIZE", "SOURCE")]
    for row in rows:
        size = sum(form.bytes for form in row.cached)
        forms = ", ".join(f.form if f.sound else f"{f.form} (damaged)" for f in row.cached)
        table.append(
            (
                row.name,
                ", ".join(row.aliases) or "-",
                row.version or "-",
                forms or "-",
                f"{size >> 20} MiB" if size else "-",
                row.source or f"debian:{row.suite}",
            )
        )
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        words = zip(line, widths, strict=True)
        click.echo("  ".join(word.ljust(width) for word, width in words).rstrip())
    click.echo(f"\ncache: {cache.root}{os.sep}; dir:PATH takes a folder of Docker's own binaries")


def _say(line: str) -> None:
    click.echo(line, err=True)
