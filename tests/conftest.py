"""What every test shares: the event loop that async tests run on, and how hard hypothesis looks."""

import pytest
from hypothesis import HealthCheck, settings

# The default repeats the same examples on every machine, so that a red test is red for everyone.
# To look for new ones: make test ARGS=--hypothesis-profile=explore
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The loop for async tests; session-wide, so that a fixture of any scope may be async."""
    return "asyncio"
