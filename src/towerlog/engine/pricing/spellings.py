"""Names of models as senders spell them: which provider stands in one, and whether a name is of a model of a list or
only begins like one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

PROXIES = frozenset({"litellm", "litellm_proxy", "gateway", "vercel", "portkey", "helicone"})
"""What stands between an agent and whoever serves the model: as a provider they say nothing of its price."""
PROVIDERS: Mapping[str, str] = {
    "azure_ai": "azure",
    "azure_openai": "azure",
    "azure-openai": "azure",
    "amazon-bedrock": "aws",
    "amazon_bedrock": "aws",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "bedrock-converse": "aws",
    "copilot": "github-copilot",
    "fireworks-ai": "fireworks",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "github_copilot": "github-copilot",
    "google-genai": "google",
    "google-gla": "google",
    "google-vertex": "google",
    "google_genai": "google",
    "google_vertexai": "google",
    "grok": "x-ai",
    "models": "google",
    "moonshot": "moonshotai",
    "openai-chat": "openai",
    "openai-responses": "openai",
    "openai_responses": "openai",
    "text-completion-openai": "openai",
    "together-ai": "together",
    "together_ai": "together",
    "vertex": "google",
    "vertex_ai": "google",
    "vertex_ai_beta": "google",
    "vertexai": "google",
    "xai": "x-ai",
}
"""What senders call a provider, as one or in front of a model → its id in lists of prices."""
SERVERS = frozenset(
    {
        *PROXIES,
        *PROVIDERS,
        *PROVIDERS.values(),
        *("anthropic", "azure", "cerebras", "cohere", "databricks", "deepseek", "groq", "hosted_vllm", "huggingface"),
        *("lm_studio", "meta", "minimax", "novita", "nvidia", "ollama", "openai", "openrouter", "perplexity", "vllm"),
    }
)
"""What may stand before a model without being a part of its name."""
SEPARATORS = "/:"
"""Between a provider and its model, where a sender gives both in one name."""
_VERTEX = re.compile(r"(?:.*/)?publishers/[^/]+/models/(?P<model>[^/]+)")
_ARN = re.compile(r"arn:aws[a-z-]*:bedrock:.*/(?P<model>[^/]+)")
_ROUTE = re.compile(r"(?:converse|invoke|[a-z]{2}(?:-[a-z]+)+-\d)/(?P<model>.+)")
"""Behind `bedrock/`: how it is asked, or the region."""
_BEDROCK = re.compile(
    r"(?:(?:us|us-gov|eu|apac|ap|au|jp|ca|sa|me|af|in|global)\.)?"
    r"(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshot|moonshotai|nvidia|openai|qwen"
    r"|stability|twelvelabs|writer|zai)\.[a-z].+"
)
"""As Bedrock calls models: their makers in front, and before those the regions that may serve them."""
_TAIL = re.compile(
    r"(?:[-@](?:\d{4}-\d{2}-\d{2}|\d{2}-\d{2}(?:-\d{4})?|\d{2}-\d{4}|\d{3,8})"  # dates, numbers of a series
    r"|[-@:](?:latest|preview|exp|experimental|beta|stable|default|nightly|instruct|thinking)"
    r"|[-:@]v\d+(?:\.\d+)*|:\d+)*"
    r"(?:\[1m\])?"
)
"""Behind the name of a model: which of its versions it is, at the same price."""
_OPEN = re.compile(r".*(?:[-@:.]|\.ft-)|ft:.*")
"""Beginnings of names behind which anything may stand: a list says so by their last letter, and of tuned models."""
_VERSIONS = {
    "claude-2": (".0", ".1"),
    "gemini-3.1-pro-preview": ("-customtools",),
    "gemma-3n": ("-e2b-it", "-e4b-it"),
}
"""Beginning of a name → what else may stand behind it."""
_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


def provider_called(name: str) -> str | None:
    """The id of a provider that a sender calls so; None for what only stands before providers."""
    name = name.strip().lower()
    return None if name in PROXIES else PROVIDERS.get(name, name)


def spelled(provider: str | None, model: str) -> tuple[str | None, str]:
    """(provider, model) in small letters, without what senders put in front of either; None: the model alone tells who
    serves it, or nobody does."""
    provider = None if provider is None else provider_called(provider)
    model = model.strip().lower()
    for whole, of in ((_VERTEX, "google"), (_ARN, "aws")):
        found = whole.fullmatch(model)
        if found is not None:
            return provider or of, found["model"]
    front, model_behind = split(model)
    while front in PROXIES:
        model = model_behind
        front, model_behind = split(model)
    named = PROVIDERS.get(front)
    if named is not None and provider in (None, named):
        provider, model = named, model_behind
    if provider == "aws":
        route = _ROUTE.fullmatch(model)
        model = model if route is None else route["model"]
    if provider is None and _BEDROCK.fullmatch(model):
        provider = "aws"
    return provider, model


def ways_to_say(provider: str | None, model: str) -> dict[str, tuple[str | None, ...]]:
    """Names by which a price may be of a model that is served by a provider, with the providers that it may name; both
    as they were sent, in small letters. None: any provider."""
    found: dict[str, tuple[str | None, ...]] = {model: (None,) if provider is None else (None, provider)}
    front, behind = split(model)
    if front and provider in (None, front, *PROXIES):
        # What is no provider for others is one for whoever has a price of it.
        found[behind] = (None, front, PROVIDERS.get(front)) if front in SERVERS else (front,)
    named, plain = spelled(provider, model)
    found[plain] = (*found.get(plain, (None,)), named)
    return {name: tuple(dict.fromkeys(providers)) for name, providers in found.items()}


def split(model: str) -> tuple[str, str]:
    """What stands before the first separator, empty for nothing, and what stands behind it."""
    at = min((found for found in map(model.find, SEPARATORS) if found > 0), default=-1)
    return ("", model) if at < 0 else (model[:at], model[at + 1 :])


def dated(model: str) -> str:
    """The model with its date in groups, as most lists have it."""
    return _COMPACT_DATE.sub(r"-\1-\2-\3", model)


def is_version(known: str, behind: str) -> bool:
    """Whether what stands behind the known beginning of a name only says which version of that model it is."""
    if not behind or behind in _VERSIONS.get(known, ()) or _OPEN.fullmatch(known) is not None:
        return True
    digits = len(behind) - len(behind.lstrip("0123456789"))
    if digits:
        # The beginning ends within a date, or within a number of a series.
        group = len(known) - len(known.rstrip("0123456789")) + digits
        if group not in (3, 8) or not known[-1].isdigit():
            return False
    return _TAIL.fullmatch(behind[digits:]) is not None


def is_front(before: str) -> bool:
    """Whether what stands before the known part of a name says who serves it, and nothing of the model."""
    return not before or before[-1] in "/.:"
