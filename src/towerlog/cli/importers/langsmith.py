"""Exports of LangSmith: runs as its API and its clients write them. A trace is a run of ours, its runs are spans.

Chains repeat the tokens and the cost of what they have called: only those of models count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

from towerlog.cli.importers.events import (
    ImportedEvent,
    Json,
    RunReader,
    Values,
    dollars_of,
    given,
    key_of,
    list_of,
    name_of,
    object_of,
    text_of,
    thread_of,
)
from towerlog.cli.importers.spans import Kind, Span, Trace, events_of
from towerlog.provider_usage.forms import usage_of

NAME = "langsmith"
_KINDS: dict[str, Kind] = {"llm": "model", "embedding": "model", "tool": "tool"}
"""Type of a run → what it is; of every other type: a step."""
_THREADS = ("thread_id", "session_id", "conversation_id")
"""Metadata that names the thread, in the order in which LangSmith looks."""


def recognizes(value: Any) -> bool:
    """Whether a value is of such a file."""
    if isinstance(value, list):
        return bool(value) and recognizes(value[0])
    one = object_of(value)
    if isinstance(one.get("runs"), list):
        return recognizes(one["runs"]) or not one["runs"]
    return "run_type" in one and "id" in one


def read(values: Callable[[], Values], skipped: Callable[[str], None]) -> Iterator[ImportedEvent]:
    """The events of a file. `skipped` is told of what is no run."""
    traces: dict[str, dict[str, Json]] = {}
    for _, value in values():
        inner = object_of(value).get("runs")
        found = value if isinstance(value, list) else inner if isinstance(inner, list) else [value]
        for one in _flat(found):
            if "run_type" in one and "id" in one:
                trace_id = str(one.get("trace_id") or one["id"])
                traces.setdefault(trace_id, {})[str(one["id"])] = one
            else:
                skipped("no run")
    for trace_id, runs in traces.items():
        yield from _events_of(trace_id, runs, skipped)


def _flat(found: list[Any]) -> Iterator[Json]:
    """The runs, and those that stand within them; a child without a trace of its own is of its parent's."""
    waiting = [object_of(one) for one in reversed(found)]
    while waiting:
        one = waiting.pop()
        yield one
        of_parent = {"trace_id": one.get("trace_id") or one.get("id"), "parent_run_id": one.get("id")}
        children = map(object_of, reversed(list_of(one.get("child_runs"))))
        waiting += [child | {name: child.get(name) or known for name, known in of_parent.items()} for child in children]


def _events_of(trace_id: str, runs: dict[str, Json], skipped: Callable[[str], None]) -> Iterator[ImportedEvent]:
    roots = [one for one in runs.values() if text_of(one.get("parent_run_id")) not in runs]
    root = roots[0] if len(roots) == 1 else runs.get(trace_id, {})
    metadata = _metadata_of(root)
    named = next((thread for name in _THREADS if (thread := thread_of(metadata.get(name))) is not None), None)
    run = RunReader(key_of(NAME, trace_id), name_of(root.get("name"), NAME), named or thread_of(trace_id))
    about = given(
        imported_from=NAME,
        trace_id=trace_id,
        project=text_of(root.get("session_name")),
        tags=list_of(root.get("tags")) or None,
        metadata=metadata or None,
    )
    # The root is the run itself, unless it is a model or a tool that was called by itself.
    of_root = root.get("id") if _KINDS.get(str(root.get("run_type"))) is None else None
    spans = [_span_of(one, of_root, skipped) for one in runs.values() if one.get("id") != of_root or of_root is None]
    failure = _error_of(root)
    if failure is None and not root:
        failure = next((error for one in roots if (error := _error_of(one)) is not None), None)
    yield from events_of(
        run,
        Trace(
            trace_id=trace_id,
            start=text_of(root.get("start_time")),
            end=text_of(root.get("end_time")),
            input=root.get("inputs"),
            output=root.get("outputs"),
            error=failure,
            metadata=about,
            goes_on=any(_goes_on(one) for one in ([root] if root else roots)),
        ),
        spans,
    )


def _span_of(one: Json, root_id: Any, skipped: Callable[[str], None]) -> Span:
    kind = _KINDS.get(str(one.get("run_type")), "step")
    parent = text_of(one.get("parent_run_id"))
    return Span(
        span_id=str(one["id"]),
        parent_id=None if parent == root_id else parent,
        kind=kind,
        name=name_of(one.get("name"), str(one.get("run_type"))),
        start=text_of(one.get("start_time")),
        end=text_of(one.get("end_time")),
        input=one.get("inputs"),
        output=one.get("outputs"),
        error=_error_of(one),
        figures=_figures(one, skipped) if kind == "model" else {},
        goes_on=_goes_on(one),
    )


def _goes_on(one: Json) -> bool:
    """Whether a run had not ended when it was exported."""
    return text_of(one.get("end_time")) is None and _error_of(one) is None and one.get("status") != "success"


def _error_of(one: Json) -> str | None:
    error = text_of(one.get("error"))
    return error or ("failed" if one.get("status") == "error" else None)


def _metadata_of(one: Json) -> Json:
    return object_of(object_of(one.get("extra")).get("metadata")) or object_of(one.get("metadata"))


def _figures(one: Json, skipped: Callable[[str], None]) -> Json:
    """Totals include what was read from a cache and reasoning; details say how much that was.

    `skipped` is told of usage that cannot be read.
    """
    metadata, asked = _metadata_of(one), object_of(object_of(one.get("extra")).get("invocation_params"))
    model = next(
        (
            name
            for value in (metadata.get("ls_model_name"), asked.get("model"), asked.get("model_name"))
            if (name := text_of(value)) is not None
        ),
        None,
    )
    return given(
        model=model,
        provider=text_of(metadata.get("ls_provider")),
        cost_usd=next((cost for told in (one, *_sums(one)) if (cost := _cost_in(told)) is not None), None),
        **(
            _tokens_of_run(one)
            or _tokens_of_wrapper(one)
            or _tokens_of_message(one)
            or _tokens_of_provider(one, skipped)
        ),
    )


def _cost_in(told: Json) -> str | None:
    """The sum, else that of the input and of the output together; one without the other is not the cost."""
    if told.get("total_cost") is not None:
        return dollars_of(told["total_cost"])
    for names in (("prompt_cost", "completion_cost"), ("input_cost", "output_cost")):
        parts = [dollars_of(told.get(name)) for name in names]
        if None not in parts:
            return str(sum(Decimal(part) for part in parts if part is not None))
    return None


def _sums(one: Json) -> Iterator[Json]:
    """What LangSmith's own wrappers tell of a call: beside its output, or in the run's metadata."""
    for told in (one.get("outputs"), _metadata_of(one)):
        if usage := object_of(object_of(told).get("usage_metadata")):
            yield usage


def _tokens_of_wrapper(one: Json) -> Json:
    return next(filter(None, map(_tokens_in_sum, _sums(one))), {})


def _tokens_in_sum(usage: Json) -> Json:
    with suppress(TypeError, ValueError, OverflowError):
        return {name: value for name, value in usage_of(usage).items() if name != "cost_usd"}
    return {}


def _tokens_of_run(one: Json) -> Json:
    """What LangSmith has counted."""
    return _tokens_in_sum(
        given(
            input_tokens=one.get("prompt_tokens"),
            output_tokens=one.get("completion_tokens"),
            total_tokens=one.get("total_tokens"),
            input_token_details=one.get("prompt_token_details"),
            output_token_details=one.get("completion_token_details"),
        )
    )


def _tokens_of_message(one: Json) -> Json:
    """What LangChain tells of the message that the model has written."""
    for choices in list_of(object_of(one.get("outputs")).get("generations")):
        for choice in map(object_of, choices if isinstance(choices, list) else [choices]):
            message = object_of(choice.get("message"))
            usage = object_of((object_of(message.get("kwargs")) or message).get("usage_metadata"))
            if found := _tokens_in_sum(usage):
                return found
    return {}


def _tokens_of_provider(one: Json, skipped: Callable[[str], None]) -> Json:
    """What the provider has told beside its answer, in whichever form."""
    outputs = object_of(one.get("outputs"))
    told = object_of(outputs.get("llm_output"))
    for usage in (told.get("token_usage"), told.get("usage"), outputs.get("usage")):
        if not object_of(usage):
            continue
        try:
            return dict(usage_of(usage))
        except ValueError:
            skipped("usage of an unknown form")
    return {}
