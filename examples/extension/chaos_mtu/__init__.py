"""Another package's fault and probe for swarm-chaos, by entry points."""
