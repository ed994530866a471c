"""An `App`: the agents that a worker serves, by name. An agent is any callable that takes a run.

app = towerlog.App()

@app.agent("researcher")
async def researcher(run): ...
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT = "default"
"""The agent name of runs that were created without one."""
MAX_NAME_CHARS = 200
ADAPTERS = {
    "langchain_core": "towerlog.sdk.integrations.langchain.workers",
    "langgraph": "towerlog.sdk.integrations.langchain.workers",
    "pydantic_ai": "towerlog.sdk.integrations.pydantic_ai",
}
"""Package that an agent's class or one of its bases comes from → the module whose `adapt` makes a callable of it."""


@dataclass(frozen=True)
class Agent:
    """A callable that carries out runs. A sync one gets a thread per run, an async one a task."""

    name: str
    work: Callable[[Any], Any]
    is_async: bool


class App:
    """The agents that a worker serves, by name."""

    def __init__(self) -> None:
        """Without agents."""
        self._agents: dict[str, Agent] = {}
        self._default: str | None = None

    def agent(self, name: str, *, default: bool = False) -> Callable[[F], F]:
        """Registers the decorated callable under a name; `default`: also for runs that name no agent."""

        def decorate(work: F) -> F:
            self.add(name, work, default=default)
            return work

        return decorate

    def add(self, name: str, agent: Any, *, default: bool = False) -> None:
        """Registers a callable, a pydantic-ai `Agent`, or a graph or chain of LangChain, under a name.

        Raises ValueError, TypeError.
        """
        if not name or len(name) > MAX_NAME_CHARS:
            raise ValueError(f"an agent's name has 1 to {MAX_NAME_CHARS} characters")
        if name in self._agents:
            raise ValueError(f"an agent {name!r} is registered already")
        if default and self._default is not None:
            raise ValueError(f"the default agent is {self._default!r}; there can be one")
        work = _adapted(agent)
        self._agents[name] = Agent(name, work, _is_async(work))
        if default:
            self._default = name

    @property
    def names(self) -> list[str]:
        """The agent names to claim runs for: those registered, and `default` if there is a default agent."""
        extra = [DEFAULT] if self._default is not None and DEFAULT not in self._agents else []
        return [*self._agents, *extra]

    def find(self, name: str | None) -> Agent | None:
        """The agent for a run; None if this app has no such agent."""
        if name in self._agents:
            return self._agents[name]
        if name in (None, DEFAULT) and self._default is not None:
            return self._agents[self._default]
        return None


def _adapted(agent: Any) -> Callable[[Any], Any]:
    for base in type(agent).__mro__:
        adapter = ADAPTERS.get(base.__module__.partition(".")[0])
        if adapter is not None:
            # Imported only here: such an agent shows that the library is installed, which it need not be otherwise.
            found: Callable[[Any], Any] = importlib.import_module(adapter).adapt(agent)
            return found
    if not callable(agent):
        raise TypeError(f"an agent is a callable that takes a run, not {type(agent).__name__}")
    if inspect.isgeneratorfunction(agent) or inspect.isasyncgenfunction(agent):
        raise TypeError("an agent returns its result; use run.message_delta(…) instead of yielding")
    work: Callable[[Any], Any] = agent
    return work


def _is_async(work: Callable[[Any], Any]) -> bool:
    return inspect.iscoroutinefunction(work) or inspect.iscoroutinefunction(getattr(work, "__call__", None))  # noqa: B004
