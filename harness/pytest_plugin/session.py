"""What all trials of a pytest session share, on the host and in a guest."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from harness.images import Cache, Say
from harness.pytest_plugin.options import Options
from harness.pytest_plugin.progress import Progress
from harness.trial import TrialInputs

if TYPE_CHECKING:
    from harness.swarm.lab_makers import LabMaker

SESSION = pytest.StashKey["Session"]()


class TrialFolders(Protocol):
    """Where trials are recorded."""

    def new(self, inputs: TrialInputs) -> Path:
        """Return a folder for a trial; it is not there yet."""
        ...

    def drop(self, folder: Path) -> None:
        """Forget a trial that has nothing to say."""
        ...


class OneFolder:
    """The one trial of a guest, in the folder that the host has named."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new(self, inputs: TrialInputs) -> Path:  # noqa: ARG002 - the host has named it by them
        """Return the folder."""
        return self._folder

    def drop(self, folder: Path) -> None:
        """Leave it: the host sees that it has no record."""


class Session:
    """What all trials of a session share."""

    def __init__(self, options: Options, folders: TrialFolders, say: Say) -> None:
        self.options = options
        self.folders = folders
        self.progress = Progress(say)
        self.cache = Cache()

    @cached_property
    def maker(self) -> LabMaker:
        """Makes the labs of trials on this kernel; a guest has its own, and need not import this.

        :class:`UsageError` where the environment names what cannot be meant.
        """
        from harness.pytest_plugin.markers import chosen_lab
        from harness.swarm.lab_makers import MAKERS

        return MAKERS[chosen_lab(self.options)](
            self.cache, self.progress.say, self.options.inventory
        )
