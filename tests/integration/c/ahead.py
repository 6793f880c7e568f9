"""Tells how its thread is scheduled, and when its call ends."""

import os
import time

from snakepit_bridge import current_context


class Ahead:
    def policy(self):
        return os.sched_getscheduler(0)

    def choose(self, policy):
        os.sched_setscheduler(0, policy, os.sched_param(0))
        return policy

    def rest(self, ms):
        time.sleep(ms / 1000)  # allow-sleep: what the call is for
        return ms

    def deadline(self):
        """As the worker is told: CLOCK_MONOTONIC in nanoseconds."""
        left = current_context().deadline
        return int((left + time.monotonic()) * 1e9)
