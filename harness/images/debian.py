"""Root file systems from Debian packages, by mmdebstrap.

Packages are verified by apt against the suite's signed Release file; no mirror is named here:
mmdebstrap brings its own default together with the suite's updates and security updates.
``SWARM_CHAOS_MIRROR`` (a URL, or a whole ``deb ...`` line) replaces it.

What a caller may be:

* root: any of the forms;
* an ordinary user with ``uidmap`` and a range in /etc/subuid: :func:`root_tar`;
* any user at all: :func:`extracted_tar`, which runs no maintainer script.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.errors import HarnessError, ImageError, MissingError
from harness.images.cache import Say, disk_full, remove_tree, silent

SOURCE_DATE_EPOCH = 1_767_225_600
"""Time stamp for all that a build makes itself (2026-01-01T00:00:00Z, the guests' birthday)."""

_SLIM = (
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/i18n/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/bug/*",
)

# The builder must not outlive us, kill -9 included: the kernel tells the keeper when we are gone.
# mmdebstrap puts off a TERM until what it runs has ended, so that is told too; then it removes
# its temporary folders. Nothing gets more than ten seconds.
_KEEPER = """
end() {
    trap "" TERM
    kill -TERM 0
    (sleep 10; kill -KILL 0) &
    wait "$child"
    kill -KILL 0
}
trap end TERM
"$@" &
child=$!
wait "$child"
"""

_IGNORE_AGE = 'Acquire::Check-Valid-Until "false"'


@dataclass(frozen=True)
class DebianRecipe:
    """What to put into a root file system."""

    suite: str
    """Debian's name of the release: ``bookworm``, ``trixie``, ``sid``."""
    packages: tuple[str, ...]
    """Packages besides the essential ones; dependencies come along, recommendations do not."""
    hooks: tuple[str, ...] = ()
    """Shell commands run at the end, the root being ``"$1"``."""
    slim: bool = True
    """Leave out documentation and translations."""


@dataclass(frozen=True)
class DebianBuild:
    """What can be said of a finished build."""

    recipe: DebianRecipe
    mirror: str
    """The mirror given, or ``mmdebstrap's default``."""
    expired_release_accepted: bool
    """Whether the suite's Release file was past its Valid-Until date and was taken regardless.

    Its signature was checked all the same; what is lost is the proof that it is the latest.
    """

    def note(self) -> dict[str, object]:
        """Return the build as a cache manifest's note."""
        return {
            "suite": self.recipe.suite,
            "packages_asked": list(self.recipe.packages),
            "mirror": self.mirror,
            "expired_release_accepted": self.expired_release_accepted,
        }


def root_tree(recipe: DebianRecipe, target: Path, *, say: Say = silent) -> DebianBuild:
    """Install the recipe into the new folder ``target``, owners and devices included; root only."""
    if os.geteuid() != 0:
        raise MissingError(
            "an unpacked root file system can only be made by root",
            hint="run as root, or use the microvm lab, which needs no root",
        )
    switches = ["--mode=root", "--format=directory", "--variant=essential"]
    return _with_release_of_any_age(recipe, switches, target, say)


def root_tar(recipe: DebianRecipe, target: Path, *, say: Say = silent) -> DebianBuild:
    """Install the recipe and write it as the tar ``target`` (names begin with ``./``).

    As root, or as an ordinary user through a user namespace.
    """
    mode = "root" if os.geteuid() == 0 else "unshare"
    switches = [f"--mode={mode}", "--format=tar", "--variant=essential"]
    return _with_release_of_any_age(recipe, switches, target, say)


def extracted_tar(recipe: DebianRecipe, target: Path, *, say: Say = silent) -> DebianBuild:
    """Unpack the recipe's packages and their dependencies, and nothing else, into a tar.

    No essential packages are added and no maintainer script runs, so any user can do it.
    """
    switches = ["--mode=chrootless", "--format=tar", "--variant=extract"]
    return _with_release_of_any_age(recipe, switches, target, say)


def installed_packages(dpkg_status: str) -> dict[str, str]:
    """Package -> version of what is installed (or unpacked) by the text of dpkg's status file."""
    found = {}
    for paragraph in dpkg_status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, flags=re.MULTILINE))
        if fields.get("Status", "").split()[-1:] in (["installed"], ["unpacked"]):
            found[fields["Package"]] = fields["Version"]
    return found


def _with_release_of_any_age(
    recipe: DebianRecipe, switches: Sequence[str], target: Path, say: Say
) -> DebianBuild:
    """Build; if the mirror's Release file turns out to have expired, say so and take it.

    Mirrors of sid (and of archived suites) lag at times; signatures are checked in any case.
    """
    mirror = os.environ.get("SWARM_CHAOS_MIRROR") or None
    expired = False
    try:
        _run(recipe, switches, target, mirror)
    except _ReleaseExpiredError as error:
        say(
            f"the mirror's Release file of {recipe.suite} is past its Valid-Until date; "
            f"going on with it, its signature is verified all the same ({error.what})"
        )
        expired = True
        remove_tree(target)  # a failed run leaves its folder
        _run(recipe, [*switches, f"--aptopt={_IGNORE_AGE}"], target, mirror)
    return DebianBuild(recipe, mirror or "mmdebstrap's default", expired)


def _run(recipe: DebianRecipe, switches: Sequence[str], target: Path, mirror: str | None) -> None:
    command = [
        *("setpriv", "--pdeathsig", "TERM", "sh", "-c", _KEEPER, "sh", _program()),
        *switches,
        *(f"--dpkgopt={option}" for option in (_SLIM if recipe.slim else ())),
        *(f"--customize-hook={hook}" for hook in recipe.hooks),
        f"--include={','.join(recipe.packages)}",
        recipe.suite,
        # a tar goes through our own handle: in a user namespace the builder may lack the right
        str(target) if "--format=directory" in switches else "-",
    ]
    if mirror is not None:
        command.append(mirror)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LC_")},
        "LANG": "C.UTF-8",
        "SOURCE_DATE_EPOCH": str(SOURCE_DATE_EPOCH),
    }
    # apt's sandbox user and mapped users must get in; TMPDIR may be a private folder
    environment.pop("TMPDIR", None)
    with tempfile.TemporaryFile() as log:
        try:
            if "--format=directory" in switches:
                code = _wait(command, environment, subprocess.DEVNULL, log)
            else:
                with target.open("wb") as out:
                    code = _wait(command, environment, out, log)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise disk_full(f"installing {recipe.suite}", target.parent) from error
            raise
        log.seek(0)
        said = log.read().decode(errors="replace")
    if code != 0:
        raise explain(said, recipe, mirror, target)


def _wait(
    command: list[str], environment: dict[str, str], out: int | IO[bytes], log: IO[bytes]
) -> int:
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=log,
        umask=0o022,
        cwd="/",
        start_new_session=True,
    ) as process:
        try:
            return process.wait()
        except BaseException:
            # Ctrl-C: let it unmount and tidy up before we go
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


def _program() -> str:
    found = shutil.which("mmdebstrap")
    if found is None:
        raise MissingError(
            "mmdebstrap is not installed, and root file systems are built with it",
            hint="apt-get install mmdebstrap uidmap debian-archive-keyring",
        )
    return found


class _ReleaseExpiredError(ImageError):
    """The Release file is past its Valid-Until date; ``what`` is what apt said."""


def explain(said: str, recipe: DebianRecipe, mirror: str | None, target: Path) -> HarnessError:
    """Return the error that mmdebstrap's output ``said`` means, quoting its main line."""
    suite = recipe.suite
    where = mirror or "Debian's mirror"

    def line(pattern: str) -> str | None:
        found = re.search(rf"^.*(?:{pattern}).*$", said, flags=re.MULTILINE)
        return found.group(0).strip() if found else None

    if line(r"No space left on device|cannot allocate.*disk|Disk quota exceeded"):
        return disk_full(f"installing {suite}", target.parent)
    if expired := line(r"Release file for .* is expired|is not valid anymore"):
        return _ReleaseExpiredError(expired)
    if quoted := line(r"Unable to locate package|has no installation candidate"):
        return ImageError(
            f"{where} does not have all the packages requested from {suite}: {quoted}",
            hint="is the mirror complete, and has the suite this package?",
        )
    if quoted := line(
        r"NO_PUBKEY|is not signed|signatures couldn't be verified|keyring.*not exist"
    ):
        return ImageError(
            f"the signature of {suite} at {where} cannot be verified: {quoted}",
            hint="install or update Debian's keys: apt-get install debian-archive-keyring",
        )
    if quoted := line(
        r"Temporary failure resolving|Could not resolve|Could not connect|Unable to connect"
        r"|Connection (?:refused|timed out|failed)|Network is unreachable|does not have a Release"
        r"|404 +Not Found|Clearsigned file isn't valid"
    ):
        return ImageError(
            f"{where} cannot be reached for {suite}: {quoted}",
            hint="is the network up? SWARM_CHAOS_MIRROR=URL names another mirror",
        )
    if quoted := line(
        r"/etc/subuid|/etc/subgid|newuidmap|newgidmap|unshare.*(?:failed|not permitted)"
        r"|unprivileged_userns|user namespace"
    ):
        return MissingError(
            f"a root file system cannot be made as this user: {quoted}",
            hint="apt-get install uidmap, and give the user a range: "
            'usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "$USER"',
        )
    last = "; ".join(re.findall(r"^E: (.*)$", said, flags=re.MULTILINE)[-3:])
    return ImageError(
        f"mmdebstrap could not install {suite}: {last or said.strip()[-300:] or 'it said nothing'}"
    )
