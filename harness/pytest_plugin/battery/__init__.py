"""The standing battery of `swarm-chaos try`: what is broken under a stack, and what is measured."""

from harness.pytest_plugin.battery.experiments import EXPERIMENTS, Experiment
from harness.pytest_plugin.battery.question import Question, read_question
from harness.pytest_plugin.battery.shortfall import Shortfall
from harness.pytest_plugin.battery.tried import Away, Effects, Tried

__all__ = [
    "EXPERIMENTS",
    "Away",
    "Effects",
    "Experiment",
    "Question",
    "Shortfall",
    "Tried",
    "read_question",
]
