"""What providers and frameworks say that one model call has used, in buckets that share no token.

The buckets: input that was neither read from nor written to a cache, input read from a cache, input written to it,
output that is seen, and reasoning. Others count otherwise: in some forms the input includes what was cached, in others
it does not, and one library gives the figures of several providers under the same names. So each form has a usual
meaning, and where a total is told beside the figures, that meaning counts which adds up to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal, NamedTuple

from towerlog.provider_usage.figures import count
from towerlog.provider_usage.terms import of_list, terms_of

BUCKETS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
TOTAL = "total_tokens"

Tokens = int | None
LANGCHAIN_TIERS = ("flex_", "priority_")
"""LangChain puts the terms of a call before the names of its details."""
Inside = Literal["as usual", "own", "every"]
"""In which forms the input includes what was cached, and the output the reasoning, whatever is usual for the form: in
none, in the names of our own, in every form."""


class Form(NamedTuple):
    """One form of usage: the names of its members, of which the first that is not 0 counts. A dot leads inside, a plus
    adds."""

    marks: tuple[str, ...]
    """Members, one of which shows the form."""
    input: tuple[str, ...]
    output: tuple[str, ...]
    cached: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    total: tuple[str, ...] = ()
    beside_input: tuple[str, ...] = ()
    """Further input, which the input does not include, unless the total says so."""
    others: tuple[str, ...] = ()
    """How the names of further input begin, and of further output, which stand beside both whatever they are of."""
    is_cache_inside: bool = True
    """Whether the input includes what was read from a cache and written to it."""
    is_reasoning_inside: bool = True
    """Whether the output includes the reasoning."""
    is_total_bare: bool = False
    """Whether the total may be input and output alone, without what stands beside the input."""


_CHAT_CACHED = (
    *("prompt_tokens_details.cached_tokens", "prompt_tokens_details.cache_read_tokens", "prompt_cache_hit_tokens"),
    *("cache_read_input_tokens", "cached_tokens", "num_cached_tokens", "cached_input_tokens", "cache_read_tokens"),
)
_CHAT_WRITTEN = (
    *("prompt_tokens_details.cache_write_tokens", "prompt_tokens_details.cache_creation_tokens"),
    *("cache_creation_input_tokens", "cache_write_tokens", "cache_write_input_tokens", "cache_creation_tokens"),
)

FORMS = (
    Form(  # Langfuse, pi: what they have names for stands beside the input and the output
        ("input", "output"),
        ("input",),
        ("output",),
        ("input_cached_tokens", "cache_read_input_tokens", "input_cache_read", "input_cached", "cacheRead"),
        (
            *("cache_creation_input_tokens", "input_cache_write", "cacheWrite"),
            "input_cache_creation+input_cache_creation_5m+input_cache_creation_1h",
            "input_ephemeral_5m_input_tokens+input_ephemeral_1h_input_tokens",
        ),
        ("output_reasoning_tokens", "output_reasoning", "reasoning_tokens"),
        ("total", "totalTokens"),
        others=("input_", "output_"),
        is_cache_inside=False,
        is_reasoning_inside=False,
    ),
    Form(  # Gemini: the thoughts are beside the candidates, and what tools have brought is beside the prompt
        ("prompt_token_count", "promptTokenCount"),
        ("prompt_token_count", "promptTokenCount"),
        ("candidates_token_count", "candidatesTokenCount", "response_token_count", "responseTokenCount"),
        ("cached_content_token_count", "cachedContentTokenCount"),
        reasoning=("thoughts_token_count", "thoughtsTokenCount"),
        total=("total_token_count", "totalTokenCount"),
        beside_input=("tool_use_prompt_token_count", "toolUsePromptTokenCount"),
        is_reasoning_inside=False,
    ),
    Form(  # Gemini's interactions
        ("total_input_tokens", "total_output_tokens"),
        ("total_input_tokens",),
        ("total_output_tokens",),
        ("total_cached_tokens",),
        reasoning=("total_thought_tokens",),
        total=("total_tokens",),
        beside_input=("total_tool_use_tokens",),
        is_reasoning_inside=False,
    ),
    Form(("prompt_eval_count", "eval_count"), ("prompt_eval_count",), ("eval_count",)),  # Ollama
    Form(  # OpenAI's chat completions, and those who take their names: DeepSeek, LiteLLM, OpenRouter
        ("prompt_tokens", "completion_tokens"),
        ("prompt_tokens",),
        ("completion_tokens",),
        _CHAT_CACHED,
        _CHAT_WRITTEN,
        ("completion_tokens_details.reasoning_tokens", "reasoning_tokens", "reasoning_output_tokens"),
        ("total_tokens",),
    ),
    Form(  # pydantic-ai
        ("cache_read_tokens",),
        ("input_tokens",),
        ("output_tokens",),
        ("cache_read_tokens",),
        ("cache_write_tokens",),
        ("details.reasoning_tokens", "details.thoughts_tokens", "reasoning_tokens"),
        ("total_tokens",),
    ),
    Form(  # Anthropic
        ("cache_read_input_tokens", "cache_creation_input_tokens"),
        ("input_tokens",),
        ("output_tokens",),
        ("cache_read_input_tokens",),
        ("cache_creation_input_tokens",),
        ("output_tokens_details.thinking_tokens", "output_tokens_details.reasoning_tokens", "reasoning_tokens"),
        ("total_tokens",),
        is_cache_inside=False,
        is_total_bare=True,
    ),
    Form(  # OpenAI's responses
        ("input_tokens_details", "output_tokens_details"),
        ("input_tokens",),
        ("output_tokens",),
        ("input_tokens_details.cached_tokens", "input_tokens_details.cache_read_tokens"),
        ("input_tokens_details.cache_write_tokens", "input_tokens_details.cache_creation_tokens"),
        ("output_tokens_details.reasoning_tokens", "output_tokens_details.thinking_tokens"),
        ("total_tokens",),
    ),
    Form(  # LangChain, OpenAI's realtime sessions
        ("input_token_details", "output_token_details"),
        ("input_tokens",),
        ("output_tokens",),
        (
            *(f"input_token_details.{tier}cache_read" for tier in ("", *LANGCHAIN_TIERS)),
            "input_token_details.cached_tokens",
        ),
        (
            "input_token_details.cache_creation",
            "input_token_details.ephemeral_5m_input_tokens+input_token_details.ephemeral_1h_input_tokens",
        ),
        tuple(f"output_token_details.{tier}reasoning" for tier in ("", *LANGCHAIN_TIERS)),
        ("total_tokens",),
    ),
    Form(  # Vercel's AI SDK from 6 on
        ("inputTokenDetails", "outputTokenDetails"),
        ("inputTokens",),
        ("outputTokens",),
        ("inputTokenDetails.cacheReadTokens", "cachedInputTokens"),
        ("inputTokenDetails.cacheWriteTokens",),
        ("outputTokenDetails.reasoningTokens", "reasoningTokens"),
        ("totalTokens",),
    ),
    Form(  # Vercel's AI SDK 5, Codex over JSON-RPC
        ("cachedInputTokens", "reasoningTokens", "reasoningOutputTokens"),
        ("inputTokens",),
        ("outputTokens",),
        ("cachedInputTokens",),
        reasoning=("reasoningTokens", "reasoningOutputTokens"),
        total=("totalTokens",),
    ),
    Form(  # Bedrock, whose total is told with and without what was cached
        ("inputTokens", "outputTokens"),
        ("inputTokens",),
        ("outputTokens",),
        ("cacheReadInputTokens",),
        ("cacheWriteInputTokens", "cacheCreationInputTokens"),
        is_cache_inside=False,
    ),
    Form(  # Codex in its session files
        ("reasoning_output_tokens",),
        ("input_tokens",),
        ("output_tokens",),
        ("cached_input_tokens", "cached_tokens"),
        ("cache_write_tokens",),
        reasoning=("reasoning_output_tokens",),
        total=("total_tokens",),
    ),
    OWN := Form(  # The names of this SDK
        ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens"),
        ("input_tokens",),
        ("output_tokens",),
        ("cached_input_tokens", "prompt_tokens_details.cached_tokens", "cached_tokens", "prompt_cache_hit_tokens"),
        ("cache_write_tokens", "cache_write_input_tokens", "cache_creation_tokens"),
        ("reasoning_tokens",),
        ("total_tokens",),
        is_cache_inside=False,
        is_reasoning_inside=False,
    ),
    Form(("total_tokens", "totalTokens", "total"), (), (), total=("total_tokens", "totalTokens", "total")),
)


def usage_of(usage: object, *, inside: Inside = "as usual") -> dict[str, Any]:
    """What a provider says of one call, in buckets that share no token, and the total where it says more; beside them
    what its price goes by (`terms`).

    Taken are mappings and objects with attributes. An object of zeros alone is what a framework has of a call whose
    usage nobody told it: nothing is known then. Raises ValueError for what has no form that is known.
    """
    read = _Reader(usage)
    for form in FORMS:
        if any(read.has(mark) for mark in form.marks):
            is_inside = inside == "every" or (inside == "own" and form is OWN)
            meant = form._replace(is_cache_inside=True, is_reasoning_inside=True) if is_inside else form
            known = _in_buckets(meant, read, is_call=inside == "as usual")
            if known:
                return known | terms_of(read.get) if isinstance(usage, Mapping) or any(known.values()) else {}
    raise ValueError("no usage of a known form")


def terms_in(usage: object) -> dict[str, Any]:
    """What the price of a call goes by beside its buckets, of whatever form."""
    return terms_of(_Reader(usage).get)


def calls_beside(usage: object) -> list[tuple[str | None, object]]:
    """Model and usage of the calls that a provider has made for one and does not count in its usage; None: its model.

    Anthropic lists such calls under `iterations`: those of type `message` are in the usage, advisors and compactions
    are not.
    """
    found = _Reader(usage).get("iterations")
    beside = [_Reader(one) for one in found] if isinstance(found, list | tuple) else []
    return [(_model_in(one), one.value) for one in beside if one.get("type") in BESIDE_THE_USAGE]


BESIDE_THE_USAGE = frozenset({"advisor_message", "compaction"})
"""Types of iterations of Anthropic that its top-level figures do not include."""
IN_THE_USAGE = "message"


def _model_in(one: _Reader) -> str | None:
    model = one.get("model")
    return model if isinstance(model, str) and model else None


class _Reader:
    """Reads members of a mapping or attributes of an object."""

    def __init__(self, value: object) -> None:
        self.value = value

    def has(self, name: str) -> bool:
        """Whether it has this member, whatever its value."""
        return name in self.value if isinstance(self.value, Mapping) else hasattr(self.value, name)

    def get(self, path: str) -> Any:
        """What stands at this path; None where nothing does. `name[WORD]`: the sum of such items of a list."""
        found: Any = self.value
        path, _, word = path.removesuffix("]").partition("[")
        # Some write the way to a member as one name.
        for name in (path,) if "." in path and self.has(path) else path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)
        return of_list(found, word) if word else found

    def count(self, paths: tuple[str, ...]) -> Tokens:
        """The first of these that is not 0, as a number of tokens; 0 where one is told, else None.

        A library may fill the older of two names with 0 when it tells the newer one.
        """
        told = [tokens for path in paths if (tokens := self._sum(path)) is not None]
        return next(filter(None, told), 0 if told else None)

    def others(self, prefix: str, form: Form) -> Tokens:
        """The sum of what is told by names that begin so and that the form does not name otherwise; None for nothing.

        A name with and without `_tokens` is told once.
        """
        named = {name for paths in form[1:7] for path in paths for name in path.split("+")} | NO_FURTHER
        told: dict[str, int] = {}
        for name in self.value if isinstance(self.value, Mapping) else getattr(self.value, "__dict__", {}):
            if isinstance(name, str) and name.startswith(prefix) and name not in named and not _is_of_money(name):
                with suppress(TypeError, ValueError, OverflowError):
                    told[name.removesuffix("_tokens")] = count(self.get(name))
        return sum(told.values()) if told else None

    def _sum(self, path: str) -> Tokens:
        found = [count(one) for name in path.split("+") if (one := self.get(name)) is not None]
        return sum(found) if found else None


NO_FURTHER = frozenset({"input_tokens", "output_tokens"})
"""Names of the input and the output as a whole, whatever they begin with."""


OF_MONEY = ("cost", "price", "usd")
"""Words in names that tell no tokens."""


def _is_of_money(name: str) -> bool:
    return any(word in name for word in OF_MONEY)


class _Split(NamedTuple):
    """The buckets, in their order."""

    input: Tokens
    cached: Tokens
    written: Tokens
    output: Tokens
    reasoning: Tokens

    def total(self) -> int:
        """All tokens in them."""
        return sum(tokens or 0 for tokens in self)


def _in_buckets(form: Form, read: _Reader, *, is_call: bool) -> dict[str, int]:
    meanings = list(_meanings(form, read))
    total = read.count(form.total)
    if form.is_total_bare and total == _bare_sum(form, read):
        total = None
    split = _meant(meanings, total)
    if is_call and total and split.total() > total:
        # They include each other, and nobody knows how. Those of a run may be of something else than its total.
        return {TOTAL: total}
    known = {bucket: tokens for bucket, tokens in zip(BUCKETS, split, strict=True) if tokens is not None}
    if total is not None and (total > split.total() or not known):
        known[TOTAL] = total
    return known


def _meanings(form: Form, read: _Reader) -> Iterator[_Split]:
    """What the figures may mean, the usual meaning first; the last counts no token that the wholes do not include."""
    whole, output = read.count(form.input), read.count(form.output)
    beside, beside_output = read.count(form.beside_input), None
    if form.others:
        beside, beside_output = (read.others(prefix, form) for prefix in form.others)
    cached, written, reasoning = read.count(form.cached), read.count(form.written), read.count(form.reasoning)
    for cache_inside in (form.is_cache_inside, not form.is_cache_inside):
        for reasoning_inside in (form.is_reasoning_inside, not form.is_reasoning_inside):
            fresh = _apart(whole, cached, written) if cache_inside else whole
            seen = _apart(output, reasoning) if reasoning_inside else output
            yield _Split(_with(fresh, beside), cached, written, _with(seen, beside_output), reasoning)
    if form.others and (beside is not None or beside_output is not None):
        yield from _meanings(form._replace(others=()), read)
        return
    written = _at_most(written, whole)
    cached = _at_most(cached, None if whole is None else whole - (written or 0))
    reasoning = _at_most(reasoning, output)
    fresh, seen = _apart(whole, cached, written), _apart(output, reasoning)
    yield _Split(_with(fresh, beside), cached, written, seen, reasoning)


def _bare_sum(form: Form, read: _Reader) -> Tokens:
    """Input and output together, where more was read from a cache and written to it than the input could include: a
    total that says no more leaves that out. None where they could be in it."""
    whole, output = read.count(form.input), read.count(form.output)
    of_cache = (read.count(form.cached) or 0) + (read.count(form.written) or 0)
    return None if whole is None or of_cache <= whole else whole + (output or 0)


def _meant(meanings: list[_Split], total: Tokens) -> _Split:
    """The first that adds up to the total; else the first that does not exceed it."""
    if total is None:
        return meanings[0]
    exact = next((split for split in meanings if split.total() == total), None)
    return exact or next((split for split in meanings if split.total() <= total), meanings[-1])


def _with(tokens: Tokens, beside: Tokens) -> Tokens:
    return tokens if beside is None else (tokens or 0) + beside


def _at_most(tokens: Tokens, whole: Tokens) -> Tokens:
    return tokens if tokens is None or whole is None else min(tokens, whole)


def _apart(whole: Tokens, *parts: Tokens) -> Tokens:
    """What is left of a sum without its parts. Parts that are more than the sum were not inside it."""
    known = sum(part for part in parts if part is not None)
    return whole if whole is None or known > whole else whole - known
