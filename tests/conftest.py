"""What holds for all of the harness's own tests."""

from hypothesis import settings

# Deadlines of examples measure the machine: a busy one must not fail what is right.
settings.register_profile("harness", deadline=None)
settings.load_profile("harness")
