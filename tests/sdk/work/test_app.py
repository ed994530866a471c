"""What an app serves, and what it refuses to."""

from __future__ import annotations

import functools

import pytest

from towerlog.sdk.work.app import App


async def work(run: object) -> None:
    """An agent."""


class Callable:
    async def __call__(self, run: object) -> None:
        """An agent."""


def test_an_app_finds_its_agents_by_name() -> None:
    app = App()
    assert app.agent("a")(work) is work
    app.add("b", lambda run: None)
    app.add("c", functools.partial(work))
    app.add("d", Callable())
    assert app.names == ["a", "b", "c", "d"]
    assert [agent.is_async for name in app.names if (agent := app.find(name))] == [True, False, True, True]
    assert app.find("e") is None
    assert app.find("default") is None
    assert app.find(None) is None


def test_the_default_agent_takes_runs_that_name_none() -> None:
    app = App()
    app.add("a", work)
    app.add("b", lambda run: None, default=True)
    assert app.names == ["a", "b", "default"]
    for name in (None, "default"):
        found = app.find(name)
        assert found is not None
        assert found.name == "b"


def test_what_cannot_be_served_is_refused() -> None:
    app = App()
    app.add("a", work, default=True)
    for name in ("", "x" * 201, "a"):
        with pytest.raises(ValueError):
            app.add(name, work)
    with pytest.raises(ValueError, match="default"):
        app.add("b", work, default=True)

    def generator(run: object):  # type: ignore[no-untyped-def]
        yield "x"

    for wrong in (7, generator):
        with pytest.raises(TypeError):
            app.add("b", wrong)
    assert app.names == ["a", "default"]
