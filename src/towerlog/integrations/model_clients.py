"""The clients of OpenAI and Anthropic: `wrap(client)` has a client report its calls."""

from __future__ import annotations

from towerlog.sdk.integrations.clients.wrap import wrap

__all__ = ["wrap"]
