"""``swarm-chaos clean``: list and remove what a kill or a power cut could leave behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial

import click

from harness.errors import EXIT_TROUBLE, HarnessError
from harness.images import Cache
from harness.lab.leftovers import Leftover, of_engine, of_labs, of_temporary_files
from harness.vm.checkpoint import discard as discard_checkpoint
from harness.vm.checkpoint import half_kept, useless
from harness.vm.scratch import abandoned, scratch_root
from harness.vm.snapshot import discard, half_frozen, set_aside, snapshots, sweep


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


def of_snapshots(cache: Cache, *, contents: bool) -> Iterator[Leftover]:
    """Yield what killed freezes left, and damaged snapshots; with ``contents`` all is read."""
    for folder in half_frozen(cache):
        yield Leftover("half-frozen snapshot", str(folder), partial(sweep, folder))
    for folder in set_aside(cache):
        yield Leftover("damaged snapshot", str(folder), partial(sweep, folder))
    for snapshot in snapshots(cache):
        if snapshot.damage(contents=contents):
            yield Leftover("damaged snapshot", str(snapshot.folder), partial(discard, snapshot))


def of_checkpoints(cache: Cache) -> Iterator[Leftover]:
    """Yield checkpoints that are damaged or whose snapshot is gone, and half-kept ones."""
    for folder in half_kept(cache):
        yield Leftover("half-kept checkpoint", str(folder), partial(shutil.rmtree, folder))
    for checkpoint in useless(cache):
        yield Leftover(
            "useless checkpoint", str(checkpoint.folder), partial(discard_checkpoint, checkpoint)
        )


def of_scratch(listed: Iterable[Leftover]) -> Iterator[Leftover]:
    """Yield folders of killed guests and builds that nobody locks, ``listed`` ones left out."""
    known = {leftover.where for leftover in listed}
    for folder in {*abandoned(None), *abandoned(scratch_root())}:
        if str(folder) not in known:
            yield Leftover("folder", str(folder), partial(shutil.rmtree, folder))


@click.command()
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@click.option(
    "--cache",
    "damaged",
    is_flag=True,
    help="Also read the whole cache and remove damaged entries.",
)
def clean(dry_run: bool, damaged: bool) -> int:
    """Remove what a kill or a power cut could leave behind: files, cgroups, half of a build.

    In the engine that DOCKER_HOST names, or this machine's own: containers that were nodes.

    Never touches a lab that is running. Labs and cgroups belong to root; without root only this
    user's own cache and temporary files are cleaned.
    """
    root = os.geteuid() == 0
    cache = Cache(say=click.echo)
    with ExitStack() as stack:
        found = [
            *(of_engine() if root else ()),
            *(stack.enter_context(of_labs()) if root else ()),
            *(temporary := of_temporary_files()),
            *of_scratch(temporary),
            *of_cache(cache, damaged=damaged),
            *of_snapshots(cache, contents=damaged),
            *of_checkpoints(cache),
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
