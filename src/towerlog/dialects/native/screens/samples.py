"""Examples of the endpoints for screens, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Sample


def _list(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"data": [*rows], "next": None}


SCREENS: dict[str, Sample] = {
    "live": Sample({"cursor": "b7c1f0d2-1042", "resumed": False, "whole": []}),
    "count_runs": Sample(
        {
            "total": 12,
            "status": [{"value": "running", "runs": 12}],
            "agent": [{"value": "researcher", "runs": 12}],
            "model": [{"value": None, "runs": 12}],
            "persona_id": None,
        }
    ),
    "get_outline": Sample(
        {
            "run_id": v.UUID,
            "begin": "2026-04-02T10:00:00.123Z",
            "end": "2026-04-02T10:00:09.000Z",
            "spans": [
                {
                    "kind": "tool",
                    "name": "search",
                    "begin": "2026-04-02T10:00:01.500Z",
                    "end": "2026-04-02T10:00:02.240Z",
                    "first_seq": 3,
                    "last_seq": 4,
                    "count": 1,
                    "failed": 0,
                    "agent": 1,
                    "run_id": None,
                }
            ],
            "tools": [
                {"tool": "search", "calls": 1, "failed": 0, "open": 0, "p50_ms": 740, "p95_ms": 740, "max_ms": 740}
            ],
            "events": 9,
            "whole": True,
            "agents": ["researcher"],
        }
    ),
    "get_trace": Sample(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "towerlog"}}]},
                    "scopeSpans": [
                        {
                            "scope": {"name": "towerlog"},
                            "spans": [
                                {
                                    "traceId": v.UUID.replace("-", ""),
                                    "spanId": "2c7d3a1f9b6e4d05",
                                    "parentSpanId": "9f102b7d4e8a1c55",
                                    "name": "execute_tool search",
                                    "kind": 1,
                                    "startTimeUnixNano": "1775124001500000000",
                                    "endTimeUnixNano": "1775124002240000000",
                                    "attributes": [{"key": "gen_ai.tool.name", "value": {"stringValue": "search"}}],
                                    "events": [],
                                    "status": {"code": 1},
                                }
                            ],
                        }
                    ],
                }
            ]
        }
    ),
    "get_durations": Sample(
        _list({"group": "2026-04-01T00:00:00.000Z", "runs": 12, "p50_ms": 890, "p95_ms": 4100, "max_ms": 61000})
    ),
    "sum_runs": Sample(
        _list(
            {
                "group": "towers",
                "runs": 12,
                "usage": {
                    "input_tokens": 612,
                    "cached_input_tokens": 200,
                    "cache_write_tokens": 0,
                    "output_tokens": 40,
                    "reasoning_tokens": 0,
                    "total_tokens": 852,
                },
                "cost_usd": 0.0023,
                "unpriced_calls": 0,
            }
        )
    ),
}
"""Name of the endpoint → its example."""
