"""Docker's version strings, as upstream, Debian and the binaries themselves write them.

``17.03.2-ce``, ``20.10.24+dfsg1-1+deb12u1``, ``v28.0.0-rc.1``, ``5:26.1.5~3-0~debian``,
``Docker version 26.1.5+dfsg1, build a72d7cd`` all name a release: numbers, and perhaps that it
was a test build. The rest says who packed it, and does not take part in comparisons.
"""

from __future__ import annotations

import re

from packaging.version import Version

_RELEASE = re.compile(
    r"(?<![\w.])(?:\d+:)?v?(?P<numbers>\d+\.\d+\.\d+)"
    r"(?:-(?:ce|ee))?"
    r"(?:[-~](?P<stage>alpha|beta|rc|tp)\.?(?P<count>\d+))?"
)
_STAGES = {"alpha": "a", "beta": "b", "rc": "rc", "tp": "a"}


def release_in(text: str) -> str | None:
    """Return the first release in ``text`` without packagers' marks: ``17.03.2``, ``28.0.0-rc.1``.

    None when there is none, as in a binary built without a version.
    """
    found = _RELEASE.search(text)
    if found is None:
        return None
    stage = f"-{found['stage']}.{int(found['count'])}" if found["stage"] else ""
    return found["numbers"] + stage


def release_key(text: str) -> Version:
    """Return the release in ``text`` in a form that compares; ``ValueError`` if there is none."""
    found = _RELEASE.search(text)
    if found is None:
        raise ValueError(f"there is no version in {text!r}")
    stage = f"{_STAGES[found['stage']]}{found['count']}" if found["stage"] else ""
    return Version(found["numbers"] + stage)


def same_release(one: str, other: str) -> bool:
    """Return whether two version strings name the same release."""
    return release_key(one) == release_key(other)
