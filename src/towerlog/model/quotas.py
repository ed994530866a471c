"""How many of what people make an organisation may have, and how many of those one key may have made."""

from __future__ import annotations

from typing import NamedTuple


class Quota(NamedTuple):
    """Limit per organisation and per key, so that no key takes the place of all others."""

    of_org: int
    of_key: int


class Quotas(NamedTuple):
    """Of each kind, as the settings have it."""

    rules: Quota = Quota(200, 150)
    budgets: Quota = Quota(200, 150)
    prices: Quota = Quota(2000, 1500)
