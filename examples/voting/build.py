"""Write the five images into images.tar, without Docker: python build.py [images.tar]."""

import sys
from pathlib import Path

from harness.images import Cache
from harness.images.python_images import write_python_images

SERVICES = ("web", "queue", "worker", "database", "results")


def main(target: str = "images.tar") -> None:
    """Write the archive, as `docker save` would."""
    package = Path(__file__).with_name("voting")
    modules = {f"voting/{name}:1": f"voting.{name}" for name in SERVICES}
    write_python_images(Path(target), package, modules, Cache(say=print), say=print)


if __name__ == "__main__":
    main(*sys.argv[1:])
