"""What is looked at in every trial, and held against :mod:`harness.trial.oracles`."""
