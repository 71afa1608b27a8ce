"""Schedules: faults at times, overlapping, repeated, and drawn at random from the seed."""

from harness.faults.schedule.plan import Injection, Plan
from harness.faults.schedule.runner import ScheduleRun
from harness.faults.schedule.schedule_file import Schedule, read_schedule

__all__ = ["Injection", "Plan", "Schedule", "ScheduleRun", "read_schedule"]
