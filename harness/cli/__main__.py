"""``python -m harness.cli``: the same as ``swarm-chaos``."""

from harness.cli.main import main

main()
