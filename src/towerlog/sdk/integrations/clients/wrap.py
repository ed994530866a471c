"""`towerlog.wrap(client)`: a client of OpenAI or Anthropic that reports its calls.

All that these clients ask a model goes through their public method `post`, which is replaced in the one object.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from towerlog.sdk.integrations.clients.async_posts import async_posts
from towerlog.sdk.integrations.clients.calls import Calls
from towerlog.sdk.integrations.clients.endpoints import ENDPOINTS
from towerlog.sdk.integrations.clients.posts import posts
from towerlog.sdk.record.recorder import Recorder

MARK = "_towerlog_calls"
COPIES = ("copy", "with_options")
"""Methods that return another client with the same settings."""

C = TypeVar("C")


def wrap(
    client: C, agent: str | None = None, *, recorder: Recorder | None = None, stream_usage: bool | None = None
) -> C:
    """The client itself, whose calls are reported from now on: as model calls of the current run, else each as a run
    of `agent`, by default the provider's name. Raises TypeError for what is no client of OpenAI or Anthropic.

    `stream_usage`: whether a stream of chat completions is asked to tell its usage, which the program does not see; by
    default where the client talks to OpenAI or Azure.
    """
    provider = _provider_of(client)
    host = str(getattr(getattr(client, "base_url", None), "host", ""))
    calls = Calls(provider, host, agent, recorder, stream_usage)
    wrapped: Any = client
    if not hasattr(wrapped, MARK):
        _attach(wrapped, calls)
    return client


def _attach(client: Any, calls: Calls) -> None:
    is_async = inspect.iscoroutinefunction(client.post)
    client.post = async_posts(calls, client.post) if is_async else posts(calls, client.post)
    for name in COPIES:
        setattr(client, name, _copies(calls, getattr(client, name)))
    # Its parts that were used before hold the method that is replaced; they are made anew when they are asked for.
    for name, part in [*vars(client).items()]:
        if getattr(part, "_client", None) is client:
            delattr(client, name)
    setattr(client, MARK, calls)


def _copies(calls: Calls, copy: Callable[..., Any]) -> Callable[..., Any]:
    def reported(*args: Any, **options: Any) -> Any:
        made = copy(*args, **options)
        if not hasattr(made, MARK):
            _attach(made, calls)
        return made

    return reported


def _provider_of(client: object) -> str:
    for base in type(client).__mro__:
        provider = base.__module__.partition(".")[0]
        if provider in ENDPOINTS and hasattr(client, "post"):
            return provider
    raise TypeError(f"wrap takes a client of {' or '.join(ENDPOINTS)}, not {type(client).__name__}")
