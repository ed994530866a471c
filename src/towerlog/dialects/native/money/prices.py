"""Native endpoints of prices: an organisation's own, which go before the list's."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from towerlog import errors
from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import MAX_LABEL_CHARS, Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.fields import NULL, bounded_text, cost_nanos_of, decode, invalid_field, path_uuid, time_ms_of
from towerlog.dialects.native.lists import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    CursorQuery,
    Listing,
    limit_of,
    page_reply,
    read_cursor,
    read_number,
    write_cursor,
)
from towerlog.model.name_pattern import pattern_fault
from towerlog.model.outcome import Page
from towerlog.model.price import (
    CostChange,
    CreatePrice,
    DeletePrice,
    FindListedPrices,
    GetPrice,
    ListedPrice,
    ListPrices,
    PriceRow,
    PriceView,
    Rates,
    Reprice,
    RepricedPage,
)
from towerlog.model.principal import Scope
from towerlog.model.run_text import check_asked, words_of
from towerlog.model.times import format_ms, format_optional_ms
from towerlog.model.usage import dollars_json

ADMIN = scopes(Scope.ADMIN)
READ = scopes(Scope.READ)
"""The list is nobody's own, and whoever sees an unpriced call may look for its model."""
MAX_DOLLARS_A_MILLION = 1_000_000
_HOUR_MS = 3_600_000

Dollars = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": ["number", "null"], "minimum": 0})]
Model = Annotated[str, v.said("The model, or a pattern with `*` and `?`; letter case does not matter.", "my-model-*")]
Provider = Annotated[str, v.said("Who serves the model, as calls name it; null for anybody.", "azure")]


def _null() -> msgspec.Raw:
    return NULL


class PriceRates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Dollars for a million tokens. A bucket without a price costs what it is a part of: input, or output."""

    input: Annotated[Dollars, v.said("Input that came from no cache.", 2.5)]
    cached_input: Annotated[Dollars, v.said("Input that came from a cache; null: as input.", 1.25)] = msgspec.field(
        default_factory=_null
    )
    cache_write: Annotated[Dollars, v.said("Input that was written into a cache; null: as input.", None)] = (
        msgspec.field(default_factory=_null)
    )
    output: Annotated[Dollars, v.said("Output without reasoning; null: calls with output stay unpriced.", 10)] = (
        msgspec.field(default_factory=_null)
    )
    reasoning: Annotated[Dollars, v.said("Output spent on reasoning; null: as output.", None)] = msgspec.field(
        default_factory=_null
    )
    cache_write_1h: Annotated[Dollars, v.said("Input written into a cache for an hour; null: unpriced.", None)] = (
        msgspec.field(default_factory=_null)
    )
    input_audio: Annotated[Dollars, v.said("Audio in the input; null: calls with it stay unpriced.", None)] = (
        msgspec.field(default_factory=_null)
    )
    cached_audio: Annotated[Dollars, v.said("Audio that came from a cache; null: unpriced.", None)] = msgspec.field(
        default_factory=_null
    )
    output_audio: Annotated[Dollars, v.said("Audio in the output; null: calls with it stay unpriced.", None)] = (
        msgspec.field(default_factory=_null)
    )


class NewPriceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A price to make. It never changes: make another one that holds from later on."""

    schema_name: ClassVar[str] = "NewPrice"
    model: Model
    usd_per_million: Annotated[PriceRates, v.said("What its tokens cost.")]
    provider: Provider | None = None
    valid_from: Annotated[str, v.time("From which call on it holds; null: since ever.")] | None = None


class PriceDetail(msgspec.Struct, frozen=True):
    """A price of the organisation's own."""

    schema_name: ClassVar[str] = "Price"
    price_id: v.PriceId
    model: Model
    provider: Provider | None
    valid_from: Annotated[str, v.time("From which call on it holds; null: since ever.")] | None
    usd_per_million: Annotated[PriceRates, v.said("What its tokens cost.")]
    price_version: Annotated[str, v.said("What costs say that were computed with it.", f"price {v.UUID}")]
    created_at: v.CreatedAt


class ListedPricesQuery(msgspec.Struct, frozen=True):
    """Which of the list."""

    q: Annotated[str, v.said("Only those that have all these words in provider, model or name.", "gpt-4o")] | None = (
        None
    )
    limit: Annotated[int, v.limit(MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: v.Cursor | None = None


class ListedPriceDetail(msgspec.Struct, frozen=True):
    """What a model costs now by the list that comes with the server."""

    schema_name: ClassVar[str] = "ListedPrice"
    provider: Annotated[str, v.said("Who serves the model.", "openai")]
    model: Annotated[str, v.said("The model, as the list has it.", "gpt-4o")]
    name: Annotated[str, v.said("What people call it.", "gpt 4o")]
    usd_per_million: Annotated[PriceRates, v.said("What its tokens cost, in short prompts.")]
    has_tiers: Annotated[bool, v.said("Whether long prompts have another price.", False)]
    price_version: Annotated[str, v.said("Which list it is.", "genai-prices 0.1.0")]


class RepriceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which computed costs are to be computed anew."""

    schema_name: ClassVar[str] = "Reprice"
    since: Annotated[str, v.time("Of calls in the hour of this time and after it.")]
    dry_run: Annotated[bool, v.said("Only tell what would change; false writes it.", True)]
    until: Annotated[str, v.time("Of calls up to the end of the hour before this time; null: all.")] | None = None
    model: Annotated[str, v.said("Only of this model, or of those that fit a pattern.", "gpt-*")] | None = None
    cursor: v.Cursor | None = None


class CostChangeDetail(msgspec.Struct, frozen=True):
    """What changes for one agent, model and hour of a run."""

    schema_name: ClassVar[str] = "CostChange"
    run_id: v.RunId
    agent: v.AgentName
    model: v.ModelName | None
    provider: Provider | None
    hour: Annotated[str, v.time("The hour in which the calls happened.")]
    calls: Annotated[int, v.said("How many calls it is of.", 12)]
    priced_calls: Annotated[int, v.said("How many of them had no price.", 0)]
    old_usd: Annotated[msgspec.Raw, v.said("What was computed, in dollars.", 0.5, type="number")]
    new_usd: Annotated[msgspec.Raw, v.said("What is computed now, in dollars.", 0.4, type="number")]
    difference_usd: Annotated[msgspec.Raw, v.said("By how much the cost changes, in dollars.", -0.1, type="number")]
    price_version: v.PriceVersion | None


class RepricedDetail(msgspec.Struct, frozen=True):
    """What changes in some runs, and where the next ones begin."""

    schema_name: ClassVar[str] = "Repriced"
    data: Annotated[list[CostChangeDetail], v.said("What changes, the newest run first.")]
    dry_run: Annotated[bool, v.said("Nothing was written.", True)]
    runs: Annotated[int, v.said("How many runs were looked at.", 500)]
    next: v.Cursor | None


_RATES = PriceRates.__struct_fields__
_REPRICE = msgspec.json.Decoder(RepriceBody)
_NEW = msgspec.json.Decoder(NewPriceBody)


def price_of(view: PriceView) -> PriceDetail:
    """A price as the API shows it."""
    row: PriceRow = view.row
    return PriceDetail(
        price_id=row.price_id,
        model=row.model,
        provider=row.provider,
        valid_from=format_optional_ms(row.since or None),
        usd_per_million=_dollars_of(row.rates),
        price_version=row.card().version,
        created_at=format_ms(row.created_at),
    )


def listed_price_of(listed: ListedPrice) -> ListedPriceDetail:
    """A price of the list as the API shows it."""
    card = listed.card
    return ListedPriceDetail(
        provider=listed.provider,
        model=listed.model,
        name=listed.name,
        usd_per_million=_dollars_of(card.rates),
        has_tiers=bool(card.tiers),
        price_version=card.version,
    )


def _dollars_of(rates: Rates) -> PriceRates:
    # A femto-dollar a token is a nano-dollar a million.
    return PriceRates(**{name: dollars_json(getattr(rates, name)) for name in _RATES})


def _rate(raw: msgspec.Raw, name: str) -> int | None:
    field = f"usd_per_million.{name}"
    nanos = cost_nanos_of(raw, field)
    if nanos is not None and nanos > MAX_DOLLARS_A_MILLION * 10**9:
        raise invalid_field(field, f"is larger than {MAX_DOLLARS_A_MILLION}")
    return nanos


def _label(text: str | None, field: str) -> str | None:
    label = bounded_text(None if text is None else text.strip(), field, MAX_LABEL_CHARS)
    if label is not None and not label.isprintable():
        raise invalid_field(field, "must be printable")
    return None if not label else label.lower()


def _model_of(text: str | None) -> str | None:
    """A model, or a pattern of models, in lower case; None for a blank one."""
    model = _label(text, "model")
    fault = None if model is None else pattern_fault(model)
    if fault is not None:
        raise invalid_field("model", fault)
    return model


def _decode_create(call: Call) -> CreatePrice:
    body = decode(_NEW, call.body)
    model = _model_of(body.model)
    if model is None:
        raise invalid_field("model", "must not be blank")
    told = body.usd_per_million
    rates = msgspec.structs.replace(Rates(), **{name: _rate(getattr(told, name), name) for name in _RATES})
    if rates.input is None:
        raise invalid_field("usd_per_million.input", "must be a number of dollars")
    return CreatePrice(model, rates, _label(body.provider, "provider"), time_ms_of(body.valid_from, "valid_from") or 0)


def _decode_list(call: Call) -> ListPrices:
    return ListPrices(limit_of(call), read_number("prices", call.query.get("cursor")) or None)


def _decode_listed(call: Call) -> FindListedPrices:
    asked = bounded_text(call.query.get("q"), "q")
    check_asked(asked)
    key = read_cursor("listed-prices", call.query.get("cursor"))
    provider, _, model = (key or "").partition(":")
    return FindListedPrices(limit_of(call), tuple(words_of(asked or "")), None if key is None else (provider, model))


def _decode_get(call: Call) -> GetPrice:
    return GetPrice(path_uuid(call.path["price_id"], "price"))


def _decode_delete(call: Call) -> DeletePrice:
    return DeletePrice(path_uuid(call.path["price_id"], "price"))


def _decode_reprice(call: Call) -> Reprice:
    body = decode(_REPRICE, call.body)
    since = time_ms_of(body.since, "since")
    if since is None:
        raise invalid_field("since", "must be a time")
    before = read_number("reprice", body.cursor) or None
    return Reprice(since, time_ms_of(body.until, "until"), _model_of(body.model), body.dry_run, before)


def _encode_repriced(outcome: RepricedPage, command: Reprice, call: Call) -> Reply:
    data = [change_of(change) for change in outcome.changes]
    following = write_cursor("reprice", outcome.next)
    return reply_json(RepricedDetail(data, command.dry_run, outcome.runs, following))


def change_of(change: CostChange) -> CostChangeDetail:
    """A change as the API shows it."""
    repriced = change.repriced
    return CostChangeDetail(
        run_id=change.run_id,
        agent=change.agent,
        model=repriced.model or None,
        provider=change.provider,
        hour=format_ms(repriced.hour * _HOUR_MS),
        calls=change.calls,
        priced_calls=-repriced.counted.unpriced,
        old_usd=dollars_json(change.old_nanos),
        new_usd=dollars_json(change.new_nanos),
        difference_usd=dollars_json(change.new_nanos - change.old_nanos),
        price_version=repriced.version or None,
    )


def _encode_price(outcome: PriceView, command: object, call: Call) -> Reply:
    return reply_json(price_of(outcome), 201 if outcome.created else 200)


def _encode_list(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("prices", outcome, price_of)


def _encode_listed(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("listed-prices", outcome, listed_price_of)


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/prices", "list_prices", "The organisation's own prices, newest first.", ADMIN,
        _decode_list, _encode_list, query=CursorQuery, reply=Listing[PriceDetail],
    ),
    Endpoint(
        "POST", "/api/v1/prices", "create_price", "Make a price; it holds for calls that are reported from now on.",
        ADMIN, _decode_create, _encode_price, request=NewPriceBody, reply=PriceDetail, reply_status=201,
        refuses=(errors.Conflict,),
    ),
    Endpoint(
        "POST", "/api/v1/prices/reprice", "reprice",
        "Compute anew what was computed, some runs at a time; what changes is written unless it is a dry run.",
        ADMIN, _decode_reprice, _encode_repriced, request=RepriceBody, reply=RepricedDetail,
        refuses=(errors.Conflict,),
    ),
    Endpoint(
        "GET", "/api/v1/prices/listed", "list_listed_prices",
        "Prices of the list that comes with the server, as they are now, by provider and model.", READ,
        _decode_listed, _encode_listed, query=ListedPricesQuery, reply=Listing[ListedPriceDetail],
    ),
    Endpoint(
        "GET", "/api/v1/prices/{price_id}", "get_price", "A price of the organisation's own.", ADMIN,
        _decode_get, _encode_price, reply=PriceDetail,
    ),
    Endpoint(
        "DELETE", "/api/v1/prices/{price_id}", "delete_price",
        "Delete a price. What was computed with it stays.", ADMIN,
        _decode_delete, _encode_price, reply=PriceDetail,
    ),
)  # fmt: skip
"""The endpoints of prices."""
