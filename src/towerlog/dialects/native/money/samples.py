"""Examples of the endpoints of budgets and prices."""

from __future__ import annotations

from typing import Any

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Sample

BUDGET: dict[str, Any] = {
    "name": "writers",
    "scope": {"agent": "writer"},
    "amount_usd": 25,
    "period": "day",
    "action": "pause",
    "warn_at": 0.8,
}
MADE_BUDGET: dict[str, Any] = BUDGET | {
    "budget_id": "0196b2c4-7b00-7000-8000-000000000009",
    "spent_usd": 21.5,
    "reserved_usd": 0.05,
    "unpriced_calls": 0,
    "state": "warning",
    "resets_at": "2026-04-03T00:00:00.000Z",
    "created_at": "2026-04-02T10:00:00.123Z",
    "spent_usd_per_hour": 1.25,
    "ends_at": "2026-04-02T16:40:00.000Z",
}
RESERVATION: dict[str, Any] = {
    "reservation_id": "0196b2c4-7b80-7000-8000-00000000000b",
    "run_id": v.UUID,
    "key_id": v.UUID,
    "amount_usd": 0.05,
    "budget_ids": [MADE_BUDGET["budget_id"]],
    "expires_at": "2026-04-02T10:01:00.123Z",
}

PRICE: dict[str, Any] = {
    "model": "my-model-*",
    "usd_per_million": {
        "input": 2.5,
        "cached_input": 1.25,
        "cache_write": None,
        "output": 10,
        "reasoning": None,
        "cache_write_1h": None,
        "input_audio": None,
        "cached_audio": None,
        "output_audio": None,
    },
    "provider": "azure",
    "valid_from": "2026-04-01T00:00:00.000Z",
}
PRICE_ID = "0196b2c4-7c00-7000-8000-00000000000a"
MADE_PRICE: dict[str, Any] = PRICE | {
    "price_id": PRICE_ID,
    "price_version": f"price {PRICE_ID}",
    "created_at": "2026-04-02T10:00:00.123Z",
}

LISTED_PRICE: dict[str, Any] = {
    "provider": "openai",
    "model": "gpt-4o",
    "name": "gpt 4o",
    "usd_per_million": PRICE["usd_per_million"],
    "has_tiers": False,
    "price_version": "genai-prices 0.1.0",
}

COST_CHANGE: dict[str, Any] = {
    "run_id": v.UUID,
    "agent": "writer",
    "model": "my-model-2",
    "provider": "azure",
    "hour": "2026-04-02T10:00:00.000Z",
    "calls": 12,
    "priced_calls": 0,
    "old_usd": 0.5,
    "new_usd": 0.4,
    "difference_usd": -0.1,
    "price_version": f"price {PRICE_ID}",
}

MONEY: dict[str, Sample] = {
    "list_budgets": Sample({"data": [MADE_BUDGET], "next": None}),
    "create_budget": Sample(MADE_BUDGET, BUDGET),
    "get_budget": Sample(MADE_BUDGET),
    "change_budget": Sample(MADE_BUDGET | {"amount_usd": 40}, {"amount_usd": 40}),
    "delete_budget": Sample(MADE_BUDGET),
    "reserve_budget": Sample(
        {"granted": True, "reservation_id": v.UUID, "refused_by": None},
        {"run_id": v.UUID, "amount_usd": 0.05, "ttl_seconds": 60},
    ),
    "list_reservations": Sample({"data": [RESERVATION], "next": None}),
    "release_reservation": Sample(RESERVATION),
    "list_prices": Sample({"data": [MADE_PRICE], "next": None}),
    "list_listed_prices": Sample({"data": [LISTED_PRICE], "next": None}),
    "create_price": Sample(MADE_PRICE, PRICE),
    "get_price": Sample(MADE_PRICE),
    "delete_price": Sample(MADE_PRICE),
    "reprice": Sample(
        {"data": [COST_CHANGE], "dry_run": True, "runs": 7, "next": None},
        {"since": "2026-04-01T00:00:00.000Z", "until": None, "model": "my-model-*", "dry_run": True, "cursor": None},
    ),
}
"""Name of the endpoint → its example."""
