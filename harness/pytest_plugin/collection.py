"""Which scenarios run, and at which points: multiplied, chosen, refused before any has begun."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

import pytest

from harness.errors import HarnessError, UsageError
from harness.pytest_plugin.expectations import check_controls, controls_of
from harness.pytest_plugin.foreign_plugins import refuse_replaced_threads
from harness.pytest_plugin.known_bugs import check
from harness.pytest_plugin.markers import (
    TrialPoint,
    chosen_lab,
    installs_next,
    is_scenario,
    other_engines_of,
    point_of,
    serving_of,
    topology_of,
    upgradable,
)
from harness.pytest_plugin.marks_check import check_marks
from harness.pytest_plugin.options import Options
from harness.pytest_plugin.session import SESSION, Session
from harness.vm.machine import Clock


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Collect scenarios without Python, ``*.chaos.toml``."""
    if not file_path.name.endswith(".chaos.toml"):
        return None
    from harness.pytest_plugin.toml_scenario import TomlFile  # seldom: it brings all faults

    made: TomlFile = TomlFile.from_parent(parent, path=file_path)
    return made


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Multiply scenarios by engines and seeds."""
    if "point" in metafunc.fixturenames:
        options = metafunc.config.stash[SESSION].options
        engines = list(options.engines)
        if installs_next(metafunc.definition):
            engines = list(dict.fromkeys(upgradable(engine) for engine in engines))
        points = [TrialPoint(engine, seed) for seed in options.seeds for engine in engines]
        metafunc.parametrize("point", points, ids=str)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """Choose the items; what ``-k NAME`` chooses comes with its controls if these are asked for."""
    leave_out(config, items)
    collected = list(items)
    yield
    if config.stash[SESSION].options.controls and config.getoption("keyword"):
        bring_controls(config, items, collected)


def bring_controls(
    config: pytest.Config, items: list[pytest.Item], collected: Iterable[pytest.Item]
) -> None:
    """Add the controls of the scenarios that were chosen, at the same engines and seeds."""
    wanted = {
        (item.path, name, str(point_of(item)))
        for item in items
        if is_scenario(item)
        for name in controls_of(item)
    }
    chosen = set(items)
    brought = [
        item
        for item in collected
        if item not in chosen
        and is_scenario(item)
        and (item.path, getattr(item, "originalname", ""), str(point_of(item))) in wanted
    ]
    items += brought
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    left_out = reporter.stats.get("deselected", []) if reporter is not None else []
    left_out[:] = [item for item in left_out if item not in brought]


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave controls and the long tail of cases out unless they are asked for.

    What installs the release after its own is skipped where there is none.
    """
    for item in items:
        engine = point_of(item).engine if is_scenario(item) else ""
        if engine and other_engines_of(item, engine) is None:
            item.add_marker(pytest.mark.skip(f"no release after {engine} is known"))
    options = config.stash[SESSION].options
    unasked = {
        name
        for name, asked in (("control", options.controls), ("thorough", options.thorough))
        if not asked
    }
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in unasked)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    if len(options.seeds) > 1 and options.clock is Clock.VIRTUAL:
        items[:] = grouped(items, options)


def grouped(items: list[pytest.Item], options: Options) -> list[pytest.Item]:
    """Return trials in an order in which those with a warm-up in common come together.

    Each warm-up is then made once and used while it is fresh, whatever room there is for them. A
    group comes where the first of it was, and nothing else changes.
    """
    places: dict[str, int] = {}

    def place(item: pytest.Item) -> int:
        ground = item.nodeid
        if is_scenario(item):
            ground = f"{topology_of(item, options)} {point_of(item)} {serving_of(item)}"
        return places.setdefault(ground, len(places))

    return sorted(items, key=place)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse scenarios that this user can run in no lab: skipped, they would look green.

    And those whose marks cannot be meant.
    """
    scenarios = [item for item in session.items if is_scenario(item)]
    try:
        if scenarios and not session.config.option.collectonly:
            refuse_replaced_threads()
        check_marks(session.items)
        check(session.items)
        check_controls(session.items)
        _check_topology(session.config.stash[SESSION].options, scenarios)
    except UsageError as error:
        pytest.exit(str(error), returncode=error.exit_code)
    chosen = session.config.stash[SESSION]
    if chosen.options.controls and scenarios and not any(map(_is_control, scenarios)):
        chosen.progress.say(
            "--controls: none of what was chosen is a control; name the file, or use -k"
        )
    if scenarios and not session.config.option.collectonly:
        _require_lab(session.config.stash[SESSION])


def _check_topology(options: Options, scenarios: Iterable[pytest.Item]) -> None:
    """Refuse a file of whose labels, limits and links a scenario would see nothing."""
    file = options.topology_file
    if file is None or file.is_bare:
        return
    for item in scenarios:
        if "swarm" not in getattr(item, "fixturenames", ()):
            raise UsageError(
                f"{item.nodeid} forms no swarm by the fixture `swarm`, which is what gets the "
                f"labels, limits and links of the topology {file.name}",
                hint="choose others with -k, or a topology of nodes and engines only",
            )


def _require_lab(session: Session) -> None:
    """Refuse a lab that cannot be made here, before any trial has begun."""
    options = session.options
    if options.attach is not None or chosen_lab(options) == "microvm":
        return
    try:
        session.maker.require(options.engines)
        if options.topology_file is not None:
            from harness.faults.topology_setup import require_possible

            require_possible(options.topology_file, chosen_lab(options))
    except HarnessError as error:
        pytest.exit(str(error), returncode=error.exit_code)


def _is_control(item: pytest.Item) -> bool:
    return item.get_closest_marker("control") is not None


def refuse_unknown_qemu(options: Options) -> None:
    """What SWARM_CHAOS_QEMU names has to be one: every trial would be unknown."""
    if chosen_lab(options) == "microvm":
        from harness.vm.qemu_binary import own_qemu  # the host's

        own_qemu()


def refuse_hardware_without_guests(options: Options) -> None:
    """Nodes on this kernel have what this machine has, and a record must not say otherwise."""
    if options.attach is not None:  # in a guest
        return
    for option, asked in (("--cpus", options.cpus), ("--memory", options.memory)):
        if asked is not None and chosen_lab(options) != "microvm":
            raise UsageError(
                f"{option} is for guests, and the {chosen_lab(options)} lab has none",
                hint="leave it away there: nodes have this machine's CPUs and memory",
            )


def refuse_debugger(config: pytest.Config, options: Options) -> None:
    """A debugger needs a keyboard, and nothing asynchronous enters a guest."""
    if chosen_lab(options) == "microvm" and config.getoption("usepdb"):
        raise UsageError(
            "a debugger cannot reach into a guest",
            hint="look around with `swarm-chaos shell`, or take --lab namespaces",
        )
