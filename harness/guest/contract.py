"""What host and guest agree on: paths, file names, variables, and how lines of the console begin.

Nothing else, and it imports nothing: either side can import it without the other's modules. What
every guest has, a swarm in it or not, is in ``harness/vm/contract.py``.
"""

# -- the root file system of a guest that is to be frozen ----------------------------------------

ENGINES = "/opt/swarm-chaos/engines"
"""Each engine's root file system, in a folder named by its number."""

WORKLOAD_IMAGES = "/opt/swarm-chaos/workloads.tar"
"""The images that scenarios deploy, as a docker-archive."""

REGISTRY = "/opt/swarm-chaos/registry"
"""The registry's program and its files."""

FREEZE_VARIABLE = "SWARM_CHAOS_FREEZE"
"""What to form before the freeze, as JSON: ``topology``, ``engines`` (node to folder),
``archive``, and ``sources``, the digest of what the guest was frozen with."""

# -- a thawed guest ------------------------------------------------------------------------------

LAB_LINK = "/run/swarm-chaos-lab"
"""A link to the folder of the lab that was frozen."""

ARCHIVE = "harness.zip"
"""In a payload: the harness, a zip to import from."""

FROZEN_WITH = "frozen-with"
"""In a payload: the digest of the sources that the guest it is for was frozen with."""

REPORTS = "reports.jsonl"
"""Next to the trial's folder: the reports and warnings of the guest's pytest."""

LAB_VARIABLE = "SWARM_CHAOS_LAB"
"""The lab that a trial's record names."""

CLOCK_VARIABLE = "SWARM_CHAOS_CLOCK"
"""The clock that a trial's record names."""

HOLD_VARIABLE = "SWARM_CHAOS_HOLD"
"""``1``: a trial does not end with its body but hands its guest over to a person. Otherwise
``0``: of the same length, so a trial that is held takes the course of the one that was not."""

WARM_VARIABLE = "SWARM_CHAOS_WARM"
"""``1``: the guest was warmed up, so its swarm is reseeded and serves what the scenario asks for.
Otherwise the trial does both."""

PYTEST_ENVIRONMENT = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""The plugins that scenarios use are named; looking for more is slow under emulation."""

MARKED = "checkpoint"
"""The entry of a place that the scenario itself has marked."""

CHECKPOINTS = ("load.start", "fault.inject", "fault.healed", "load.stop", MARKED)
"""Entries of a trial's journal behind which its guest stops, so that it can be kept there. The
checkpoint is named by the entry: its time in seconds, a space, its kind."""

# -- lines on the console ------------------------------------------------------------------------

FREEZE_PROGRESS = "swarm-chaos: "
"""Progress of a freeze, for the host that waits for it."""

PROGRESS = "trial: "
"""Progress of a trial, for the people who watch it."""

SHELL_READY = "shell ready: "
"""JSON; the guest waits for one line of JSON that says what to run."""

SHELL_BEGINS = "shell begins"
"""From here on the console is the person's terminal."""

SHELL_STDOUT = "shell stdout: "
"""A piece of a script's output, as base64."""

SHELL_STDERR = "shell stderr: "
"""A piece of a script's error output, as base64."""

SHELL_TROUBLE = "shell trouble: "
"""Why nothing was run, as a JSON string."""
