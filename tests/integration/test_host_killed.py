"""A short form of the storm in which hosts are killed at random moments (storms/host_killed.py; ./dev soak has the long one)."""

from __future__ import annotations

import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "storms"))
import host_killed


def test_hosts_are_killed(build, python, monkeypatch):
    monkeypatch.setenv("SNAKEPIT_PYTHON", python)
    monkeypatch.setattr(host_killed, "BUILD", build)
    seen = host_killed.storm(rounds=24, seconds=40, seed=random.randrange(1 << 30))
    print(seen)
    assert seen["rounds"] >= 4
    assert seen["with its guard"] >= 1
