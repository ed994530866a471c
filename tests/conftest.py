"""What every test shares: the event loop that async tests run on, and how hard hypothesis looks."""

import functools
import gc
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.support.memory import keep_files_in_memory
from tests.support.order import longest_first
from tests.support.ports import HeldPort
from tests.support.samples import leave_pairs_to_the_slow_tier
from tests.support.stand_ins import leave_to_the_slow_tier
from tests.support.watch import Watch
from tests.support.workers import fork_from_one
from towerlog.asgi.pages.dashboard import screens

# The default repeats the same examples on every machine, so that a red test is red for everyone.
# To look for new ones: make test ARGS=--hypothesis-profile=explore
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("quick", settings.get_profile("repeatable"), max_examples=12)
settings.register_profile("explore", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    """The quick tier tries an eighth of the examples, the first of those that all others try."""
    keep_files_in_memory()
    config.pluginmanager.register(Watch(), "towerlog-watch")
    if config.option.markexpr == "not slow" and not config.getoption("--hypothesis-profile"):
        settings.load_profile("quick")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """Several processes of a whole run share their imports."""
    fork_from_one(config, specs)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is collected stays until the end: to look through it again and again costs seconds in every process."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no process is left alone with it at the end."""
    leave_to_the_slow_tier(items)
    leave_pairs_to_the_slow_tier(items)
    longest_first(items)


@pytest.fixture(scope="session", autouse=True)
def dashboard_read_once() -> Iterator[None]:
    """A process of the tests makes the application a thousand times: the hundreds of built files are read for one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screens, "_packaged", functools.cache(screens._packaged))
        yield


@pytest.fixture(scope="session", autouse=True)
def plain_tracebacks() -> None:
    """Of defects that tests plant: to lay one out with its variables and in colours takes seconds."""
    renderer = structlog.get_config()["processors"][-1]
    assert isinstance(renderer, structlog.dev.ConsoleRenderer), "what tests log is no JSON"
    renderer.exception_formatter = structlog.dev.plain_traceback


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The loop for async tests; session-wide, so that a fixture of any scope may be async."""
    return "asyncio"


@pytest.fixture
def held_port() -> Iterator[HeldPort]:
    """A port of the test's own that nobody listens on; the test may."""
    with HeldPort() as port:
        yield port
