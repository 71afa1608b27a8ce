"""``swarm-chaos clean``: list and remove what a power cut could leave behind."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial

import click

from harness.errors import EXIT_TROUBLE, HarnessError
from harness.images import Cache
from harness.lab.leftovers import Leftover, of_labs, of_temporary_files


def of_cache(cache: Cache, *, damaged: bool) -> Iterator[Leftover]:
    """Yield what killed builds left in the cache; with ``damaged`` also damaged entries.

    For the latter every byte of the cache is read.
    """
    for kind, key in cache.half_built():
        yield Leftover(
            "half-built cache entry",
            f"{cache.root}/{kind}/{key}",
            partial(cache.remove_half_built, kind, key),
        )
    for entry in cache.entries() if damaged else ():
        kind, key = entry.manifest.kind, entry.manifest.key
        if entry.damage(contents=True):
            yield Leftover("cache entry", str(entry.path), partial(cache.remove, kind, key))


@click.command()
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@click.option(
    "--cache",
    "damaged",
    is_flag=True,
    help="Also read the whole cache and remove damaged entries.",
)
def clean(dry_run: bool, damaged: bool) -> int:
    """Remove what a power cut could leave behind: files, cgroups, half-built cache entries.

    Never touches a lab that is running. Labs and cgroups belong to root; without root only this
    user's own cache and temporary files are cleaned.
    """
    root = os.geteuid() == 0
    with ExitStack() as stack:
        found = [
            *(stack.enter_context(of_labs()) if root else ()),
            *of_temporary_files(),
            *of_cache(Cache(say=click.echo), damaged=damaged),
        ]
        failed = _remove(found, dry_run=dry_run)
    if not found:
        click.echo("there is nothing to clean up")
    if not root:
        click.echo("labs and cgroups were not checked: that needs root", err=True)
    return EXIT_TROUBLE if failed else 0


def _remove(found: Iterable[Leftover], *, dry_run: bool) -> int:
    """Remove each and say so; return how many could not be removed."""
    failed = 0
    for leftover in found:
        if dry_run:
            click.echo(f"would remove {leftover}")
            continue
        try:
            leftover.remove()
        except (HarnessError, OSError) as error:
            failed += 1
            click.echo(f"cannot remove {leftover}: {error}", err=True)
        else:
            click.echo(f"removed {leftover}")
    return failed
