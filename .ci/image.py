"""Build the OCI image of a release: Debian, what swarm-chaos needs of it, and the wheel.

    .venv/bin/python .ci/image.py build/release/*.whl [--suite trixie] [--into build/release]

No Docker is needed: mmdebstrap makes the root file system, as for guests, umoci the image of it,
and skopeo an archive for ``docker load``. As root it is then unpacked, and its command run in it.
Engines, kernel, QEMU and frozen swarms are not in the image: they are in its volume, /cache.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import __version__
from harness.errors import HarnessError, ImageError, MissingError, UsageError
from harness.images.debian import SOURCE_DATE_EPOCH, DebianRecipe, root_tar

REPOSITORY = Path(__file__).parents[1]
PYTHON = {"bookworm": "3.11", "trixie": "3.13"}
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64")
OF_DEVELOPERS = {"cpio", "python3-venv"}
COMMAND = """\
#!/usr/bin/python3
import sys

from harness.cli.main import main

sys.exit(main())
"""
CONFIG = {
    "config.entrypoint": "/usr/local/bin/swarm-chaos",
    "config.cmd": "doctor",
    "config.env": "SWARM_CHAOS_CACHE=/cache",
    "config.volume": "/cache",
    "config.workingdir": "/project",
    "config.label": f"org.opencontainers.image.version={__version__}",
    "created": "2026-01-01T00:00:00Z",
    "architecture": "amd64",
}


def main() -> None:
    """Build it; end with the exit code of the error, and its sentence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--suite", choices=sorted(PYTHON), default="trixie")
    parser.add_argument("--into", type=Path, default=REPOSITORY / "build" / "release")
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="swarm-chaos-image-") as scratch:
            archive = build(given.wheel.resolve(), given.suite, Path(scratch), given.into)
    except HarnessError as error:
        print(f"image: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"image: {archive} ({archive.stat().st_size >> 20} MiB); docker load -i {archive}")


def build(wheel: Path, suite: str, scratch: Path, into: Path) -> Path:
    """Return the archive of the image, made now; with the image's layout next to it."""
    if not wheel.is_file():
        raise UsageError(f"there is no wheel {wheel}", hint="make release builds it")
    for program in ("umoci", "skopeo"):
        if shutil.which(program) is None:
            raise MissingError(f"{program} is not installed", hint=f"apt-get install {program}")
    site, root = scratch / "site", scratch / "root.tar"
    install(wheel, suite, site)
    command = scratch / "swarm-chaos"
    command.write_text(COMMAND)
    packages = f"usr/local/lib/python{PYTHON[suite]}/dist-packages"
    recipe = DebianRecipe(
        suite,
        ("ca-certificates", "python3", *debian_packages()),
        hooks=(
            f'mkdir -p "$1/{packages}" "$1/cache" "$1/project"',
            f'cp -r {shlex.quote(str(site))}/. "$1/{packages}"',
            f'install -m 755 {shlex.quote(str(command))} "$1/usr/local/bin/swarm-chaos"',
            f'chroot "$1" python3 -m compileall -q /{packages} >/dev/null || test $? = 1',
            'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*',
        ),
    )
    root_tar(recipe, root, say=print)
    layout, tag = scratch / "layout", f"{scratch / 'layout'}:{__version__}"
    run("umoci", "init", "--layout", str(layout))
    run("umoci", "new", "--image", tag)
    run("umoci", "raw", "add-layer", "--image", tag, str(root))
    run("umoci", "config", "--image", tag, *(f"--{k}={v}" for k, v in CONFIG.items()))
    run("umoci", "gc", "--layout", str(layout))
    if os.geteuid() == 0:
        try_it(tag, scratch / "bundle")
    into.mkdir(parents=True, exist_ok=True)
    name = f"swarm-chaos-{__version__}"
    archive, kept = into / f"{name}.docker.tar", into / f"{name}.oci"
    archive.unlink(missing_ok=True)
    run("skopeo", "copy", f"oci:{tag}", f"docker-archive:{archive}:swarm-chaos:{__version__}")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.move(layout, kept)
    return archive


def install(wheel: Path, suite: str, site: Path) -> None:
    """Have pip put the wheel and what it needs into a folder, for the image's Python."""
    platforms = (word for each in PLATFORMS for word in ("--platform", each))
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"),
        *("--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON[suite]),
        *platforms,
        *("--target", str(site), "--constraint", str(REPOSITORY / "constraints.txt"), str(wheel)),
    )
    shutil.rmtree(site / "bin", ignore_errors=True)  # commands of this machine's Python


def debian_packages() -> list[str]:
    """Return what the harness needs of Debian, by the list that `make` installs."""
    lines = (REPOSITORY / ".ci" / "apt-packages.txt").read_text().splitlines()
    names = {line.partition("#")[0].strip() for line in lines}
    return sorted(names - OF_DEVELOPERS - {""})


def try_it(tag: str, bundle: Path) -> None:
    """Unpack the image and run its command in it: the wheel and its libraries fit its Python."""
    run("umoci", "unpack", "--image", tag, str(bundle))
    at = ("chroot", str(bundle / "rootfs"), "/usr/local/bin/swarm-chaos")
    said = run(*at, "--version")
    if said.strip() != f"swarm-chaos, version {__version__}":
        raise ImageError(f"the image's swarm-chaos says {said!r}, not {__version__}")
    run(*at, "faults", "--json")
    run(*at, "run", "--packaged", "--co", "-q", "--lab=microvm", "-k", "slash_30")


def run(*argv: str) -> str:
    """Run a program to its end and return what it printed; its last words are the error."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(SOURCE_DATE_EPOCH)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise ImageError(f"{shlex.join(argv[:6])} … ended with {done.returncode}: {words}")
    return done.stdout


if __name__ == "__main__":
    main()
