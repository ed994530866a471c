"""What a model has answered, as LangChain tells it: its usage, what the provider says beside that, its terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towerlog.provider_usage.forms import terms_in
from towerlog.sdk.integrations.clients.endpoints import dumped
from towerlog.sdk.integrations.langchain.messages import is_message, message_of
from towerlog.sdk.integrations.langchain.stream_usage import StreamUsage
from towerlog.sdk.record.spans.model_calls import ModelCall

READER = "langchain"
OF_CACHE = {"input_tokens": 0, "output_tokens": 0, "cost_usd": 0}
"""The usage of an answer that LangChain had kept: nobody was asked."""


def take_answer(call: ModelCall, response: Any, message: Any, text: str, pieces: StreamUsage) -> None:
    """Notes a whole answer: the library's result, its message where it has one, and what the pieces have told."""
    call.response = message_of(message) if is_message(message) else text
    told = {**(getattr(response, "llm_output", None) or {}), **(getattr(message, "response_metadata", None) or {})}
    summed = getattr(message, "usage_metadata", None)
    raw = told.get("token_usage") or told.get("usage")
    call.usage = OF_CACHE if _is_of_cache(summed) else _whole(pieces.of_call(summed), raw)
    call.response_id, call.reader = told["id"] if isinstance(told.get("id"), str) else None, READER
    call.service_tier = terms_in(told).get("service_tier") or terms_in(raw).get("service_tier")
    call.finish_reason = told.get("finish_reason") or told.get("stop_reason")
    call.model = told.get("model_name") or told.get("model") or call.model


def take_failed(call: ModelCall, error: BaseException) -> None:
    """Notes what a provider had answered where the library could not make of it what was asked for: it was paid for."""
    reply = _reply_of(error)
    if reply is None:
        return
    choices = reply.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    choice = first if isinstance(first, Mapping) else {}
    call.usage, call.reader = reply["usage"], READER
    call.response_id = reply["id"] if isinstance(reply.get("id"), str) else None
    call.service_tier = terms_in(reply).get("service_tier")
    call.model = reply.get("model") or call.model
    call.response = choice.get("message") or reply.get("output") or reply.get("content")
    call.finish_reason = choice.get("finish_reason") or reply.get("stop_reason") or reply.get("status")


def _reply_of(error: BaseException) -> Mapping[str, Any] | None:
    """The provider's reply with a usage that an exception carries: as an object, or as the response over HTTP."""
    found = dumped(getattr(error, "completion", None))
    response: Any = getattr(error, "response", None)
    if found is None and callable(getattr(response, "json", None)):
        try:
            found = response.json()
        except Exception:
            # A page of a proxy, or a stream that was not read: there is no usage in it.
            return None
    return found if isinstance(found, Mapping) and isinstance(found.get("usage"), Mapping) else None


def _whole(summed: Any, raw: Any) -> Any:
    """The usage in the library's form, with what the provider's own says of the price and of further calls; that alone
    where there is no other."""
    if not isinstance(summed, Mapping) or not isinstance(raw, Mapping):
        return summed or raw
    beside = {"iterations": raw["iterations"]} if raw.get("iterations") else {}
    return {**summed, **terms_in(raw), **beside}


def _is_of_cache(summed: Any) -> bool:
    """Whether an answer comes from the library's cache: it sets the cost to 0 then, and keeps the tokens."""
    return isinstance(summed, Mapping) and summed.get("total_cost") == 0
