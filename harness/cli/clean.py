"""``swarm-chaos clean``: lists and removes what a power cut could leave behind."""

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
    """What killed builds left in the cache; with ``damaged`` also entries that are not what was
    built, for which every byte of the cache is read."""
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
    help="Also read the whole cache and remove entries that are damaged.",
)
def clean(dry_run: bool, damaged: bool) -> int:
    """Remove what a power cut could leave behind: files, cgroups, half-built cache entries.

    Never touches a lab that is running. Labs and cgroups are root's; without root only this
    user's own cache and temporary files are looked at.
    """
    root = os.geteuid() == 0
    with ExitStack() as stack:
        found = [
            *(stack.enter_context(of_labs()) if root else ()),
            *of_temporary_files(),
            *of_cache(Cache(say=click.echo), damaged=damaged),
        ]
        stayed = _remove(found, dry_run=dry_run)
    if not found:
        click.echo("there is nothing to clean up")
    if not root:
        click.echo("labs and cgroups were not looked at: that needs root", err=True)
    return EXIT_TROUBLE if stayed else 0


def _remove(found: Iterable[Leftover], *, dry_run: bool) -> int:
    """Remove each and say so; how many could not be."""
    stayed = 0
    for leftover in found:
        if dry_run:
            click.echo(f"would remove {leftover}")
            continue
        try:
            leftover.remove()
        except (HarnessError, OSError) as error:
            stayed += 1
            click.echo(f"cannot remove {leftover}: {error}", err=True)
        else:
            click.echo(f"removed {leftover}")
    return stayed
