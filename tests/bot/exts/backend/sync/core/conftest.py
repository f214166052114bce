"""How many examples a law gets, and that CI sees the same ones every time."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "core",
    deadline=None,
    derandomize="CI" in os.environ,
    max_examples=15 if "FAST_TESTS" in os.environ else 50,
    # Making examples is slow where the machine is busy; that says nothing about the code.
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("core")
