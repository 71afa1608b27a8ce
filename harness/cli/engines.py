"""``swarm-chaos engines``: the known Docker Engines, and those in the cache."""

from __future__ import annotations

import click
import msgspec

from harness.cli.output import json_option, say, show, table_of
from harness.engine import KNOWN, EngineFacts, KnownEngine, cached, provide_facts, resolve
from harness.engine.archives import ArchiveSite
from harness.engine.roots import TAR_KIND, TREE_KIND, facts_of
from harness.errors import EngineError, ImageError
from harness.files import human_size
from harness.images import Cache, Entry
from harness.images.cache import REBUILD_HINT

_FORMS = {TREE_KIND: "tree", TAR_KIND: "tar"}

#: Each lab takes another form, and builds its own when the cache has only the other one's.
_LABS = {"tree": "namespaces", "tar": "microvm"}


class Form(msgspec.Struct, frozen=True):
    """One form of an engine in the cache."""

    form: str
    """``tree`` (for the namespaces lab) or ``tar`` (for the microVM lab)."""
    path: str
    bytes: int
    made: str
    sound: bool
    """Whether it is as it was built; only ``--verify`` reads every byte."""
    damage: list[str]


class Row(msgspec.Struct, frozen=True):
    """One engine, known or found in the cache."""

    name: str
    """What to ask for."""
    aliases: list[str]
    suite: str | None
    cached: list[Form]
    version: str | None
    """As the binary says; None while it is not cached."""
    source: str | None
    digest: str | None


@click.command()
@json_option
@click.option(
    "--verify", is_flag=True, help="Read every cached byte; exit code 2 if any is damaged."
)
@click.option("--fetch", metavar="NAME", help="First build this engine, unless it is cached.")
@click.option("--remote", is_flag=True, help="List the releases that Docker's archives have.")
def engines(as_json: bool, verify: bool, fetch: str | None, remote: bool) -> None:
    """List Docker Engines: their names, and which labs have them in the cache."""
    if remote:
        _print_remote(as_json)
        return
    cache = Cache(say=say)
    if fetch is not None:
        provide_facts(resolve(fetch), cache, say=say)
    rows = [_known(known, cache, verify) for known in KNOWN] + _others(cache, verify)
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


def _print_remote(as_json: bool) -> None:
    site = ArchiveSite.from_environment()
    releases = site.releases()
    if as_json:
        click.echo(msgspec.json.encode(releases).decode())
        return
    for release in releases:
        click.echo(release)
    click.echo(f"\n{len(releases)} releases at {site.base}", err=True)


def _others(cache: Cache, verify: bool) -> list[Row]:
    """Engines from archives, or once given as ``dir:PATH``, that are still cached."""
    by_key: dict[str, list[Entry]] = {}
    for entry in cache.entries():
        if entry.manifest.kind in _FORMS and entry.manifest.key.startswith(("dir-", "archive-")):
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
    table = table_of("engine", "also", "version", "cached for lab", "size", "source")
    for row in rows:
        size = sum(form.bytes for form in row.cached)
        table.add_row(
            row.name,
            ", ".join(row.aliases) or "-",
            row.version or "-",
            ", ".join(_lab_of(form) for form in row.cached) or "-",
            human_size(size) if size else "-",
            row.source or f"debian:{row.suite}",
        )
    show(table)
    click.echo(
        f"\ncache: {cache.root}/; any other release (27.3.1, 27.*) comes from Docker's archives; "
        "dir:PATH is a folder of such binaries"
    )


def _lab_of(form: Form) -> str:
    return _LABS[form.form] if form.sound else f"{_LABS[form.form]} (damaged)"
