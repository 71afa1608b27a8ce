"""The type of the fixture `lab_of`, for the tests that ask for it."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from harness.lab import NamespacesLab

#: From counts of managers, workers and spares to a lab of such nodes, ready to be entered.
LabOf = Callable[..., AbstractContextManager[NamespacesLab]]
