"""An `App`: the agents that a worker serves, by name. An agent is any callable that takes a run.

app = towerlog.App()

@app.agent("researcher")
async def researcher(run): ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT = "default"
"""The agent of runs that were created without one."""
LONGEST_NAME = 200


@dataclass(frozen=True)
class Agent:
    """A callable that carries out runs. A sync one gets a thread for each run, an async one a task."""

    name: str
    work: Callable[[Any], Any]
    is_async: bool


class App:
    """The agents of one worker."""

    def __init__(self) -> None:
        """None yet."""
        self._agents: dict[str, Agent] = {}
        self._default: str | None = None

    def agent(self, name: str, *, default: bool = False) -> Callable[[F], F]:
        """Serves the decorated callable under a name; `default`: it takes runs that name no agent as well."""

        def decorate(work: F) -> F:
            self.add(name, work, default=default)
            return work

        return decorate

    def add(self, name: str, agent: Any, *, default: bool = False) -> None:
        """Serves a callable, or a pydantic-ai `Agent`, under a name. Raises ValueError, TypeError."""
        if not name or len(name) > LONGEST_NAME:
            raise ValueError(f"an agent's name has 1 to {LONGEST_NAME} characters")
        if name in self._agents:
            raise ValueError(f"there is an agent {name!r} already")
        if default and self._default is not None:
            raise ValueError(f"the default agent is {self._default!r} already")
        work = _adapted(agent)
        self._agents[name] = Agent(name, work, _is_async(work))
        if default:
            self._default = name

    @property
    def names(self) -> list[str]:
        """What to claim for: the names, and `default` where an agent takes runs that name none."""
        extra = [DEFAULT] if self._default is not None and DEFAULT not in self._agents else []
        return [*self._agents, *extra]

    def find(self, name: str | None) -> Agent | None:
        """The agent for a run; None when this app serves no such one."""
        if name in self._agents:
            return self._agents[name]
        if name in (None, DEFAULT) and self._default is not None:
            return self._agents[self._default]
        return None


def _adapted(agent: Any) -> Callable[[Any], Any]:
    if any(base.__module__.partition(".")[0] == "pydantic_ai" for base in type(agent).__mro__):
        # Only here: whoever hands over such an agent has the library, everybody else need not.
        from towerlog.sdk.integrations.pydantic_ai import adapt

        return adapt(agent)
    if not callable(agent):
        raise TypeError(f"an agent is a callable that takes a run, not {type(agent).__name__}")
    if inspect.isgeneratorfunction(agent) or inspect.isasyncgenfunction(agent):
        raise TypeError("an agent returns its result; let it call run.message_delta(…) in place of yielding")
    work: Callable[[Any], Any] = agent
    return work


def _is_async(work: Callable[[Any], Any]) -> bool:
    return inspect.iscoroutinefunction(work) or inspect.iscoroutinefunction(getattr(work, "__call__", None))  # noqa: B004
