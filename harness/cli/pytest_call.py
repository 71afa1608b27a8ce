"""How scenarios are run through pytest: which, with which options, and its exit codes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import harness
from harness.errors import (
    EXIT_EXPECTATION,
    EXIT_OK,
    EXIT_TROUBLE,
    EXIT_USAGE,
    HarnessError,
    UsageError,
)

#: The harness's own options that take no value.
FLAGS = ("--controls", "--thorough", "--reuse")

PACKAGED_OPTION = "--packaged"

#: What a wheel brings: pyproject.toml, conftest.py and scenarios/, as in a checkout.
PACKAGED = Path(harness.__file__).resolve().parent / "packaged"

#: Options, the harness's and pytest's, whose value may be a path but never that of a scenario.
PATHS = (
    *("--reports", "--junitxml", "--junit-xml", "--basetemp", "--rootdir", "--confcutdir"),
    *("-c", "--config-file", "--log-file", "--ignore", "--ignore-glob", "--deselect"),
    *("--inventory", "--topology"),
)


def pytest_arguments(args: Sequence[str]) -> list[str]:
    """Return what pytest is called with: ``args``, the scenarios, how many at a time.

    Raises :class:`HarnessError` if there are no scenarios to run.
    """
    from harness.pytest_plugin.foreign_plugins import CALLED_WITH

    packaged = PACKAGED_OPTION in args
    given = tuple(arg for arg in args if arg != PACKAGED_OPTION)
    named = any(names_a_scenario(arg, before) for before, arg in pairwise(("", *given)))
    if packaged and named:
        raise UsageError(
            f"{PACKAGED_OPTION} cannot be combined with a path",
            hint="choose among the packaged scenarios with -k",
        )
    at_once = () if selects(given) else ("-n", "auto", "-v")
    folder = () if named else scenario_arguments(packaged=packaged)
    return [*CALLED_WITH, *folder, *at_once, *given]


def scenario_arguments(*, packaged: bool) -> tuple[str, ...]:
    """Return the folder of the scenarios, and what keeps pytest from writing next to packaged ones.

    Its cache would be in its root folder, which for packaged scenarios is in the installed package.
    """
    folder = scenarios_folder(packaged=packaged)
    if not folder.is_relative_to(PACKAGED):
        return (str(folder),)
    return (str(folder), "-o", f"cache_dir={Path.cwd() / '.pytest_cache'}")


def selects(args: Sequence[str]) -> bool:
    """Return whether pytest arguments choose scenarios, say how to run them or only list them."""
    choosing = (
        *("-k", "-m", "-n", "--numprocesses", "-x", "--maxfail", "--lf", "--last-failed", "--sw"),
        *("--stepwise", "--pdb", "--collect-only", "--co", "--help", "-h", "--version", "-s"),
        *("--markers", "--fixtures", "-p"),
    )
    short = tuple(word for word in choosing if len(word) == len("-k"))
    return one_kernel(args) or any(
        arg.partition("=")[0] in choosing or arg.startswith(short) or is_path(arg, before)
        for before, arg in pairwise(("", *args))
    )


def one_kernel(args: Sequence[str]) -> bool:
    """Return whether nodes of all trials would share one kernel: these run one at a time."""
    return any(
        arg.removeprefix("--lab=") in ("namespaces", "dind", "ssh", "vagrant") for arg in args
    )


def is_path(arg: str, before: str) -> bool:
    """Return whether a pytest argument is meant as a path, even a misspelt one.

    (pytest-xdist does not complain about a path that does not exist.)
    """
    is_value = before.startswith("-") and "=" not in before and before not in FLAGS
    return not arg.startswith("-") and (not is_value or names_a_scenario(arg, before))


def names_a_scenario(arg: str, before: str) -> bool:
    """Return whether a pytest argument is an existing file or folder, or a node id in one.

    The value of an option ``before`` it, as in ``--reports FOLDER``, is not.
    """
    if not arg or arg.startswith("-") or before in PATHS:
        return False
    return Path(arg.partition("::")[0]).exists()


def scenarios_folder(*, packaged: bool = False) -> Path:
    """Return ``scenarios/`` or ``chaos/`` here, else those that came with the harness.

    These are next to it in a checkout, and inside it when it was installed from a wheel. With
    ``packaged`` they are returned in any case. Raises :class:`HarnessError` if there are none.
    """
    own = [] if packaged else [Path("scenarios"), Path("chaos")]
    for folder in (*own, PACKAGED.parents[1] / "scenarios", PACKAGED / "scenarios"):
        if folder.is_dir():
            return folder
    raise HarnessError(
        "there is no folder scenarios/ or chaos/ here, and none came with the harness",
        hint="change to the project's folder, or give the path of the scenarios",
    )


def exit_code_of(pytest_code: int) -> int:
    """Translate pytest's exit code into the harness's.

    pytest: 0 passed, 1 failed, 2 interrupted, 3 internal error, 4 usage, 5 nothing collected.
    A run without a trial is a wrong selection and not a success.
    """
    return {
        0: EXIT_OK,
        1: EXIT_EXPECTATION,
        2: EXIT_TROUBLE,
        3: EXIT_TROUBLE,
        4: EXIT_USAGE,
        5: EXIT_USAGE,
    }.get(pytest_code, pytest_code)
