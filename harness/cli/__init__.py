"""``swarm-chaos``, the command line: one module per command."""
