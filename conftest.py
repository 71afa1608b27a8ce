"""Switches the harness's pytest plugin on for everything below the project's root."""

pytest_plugins = ["harness.pytest_plugin"]
