"""Whether an organisation, and a key of it, may make one more of something."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from towerlog.errors import Conflict
from towerlog.model.principal import Principal
from towerlog.model.quotas import Quota


class Made(Protocol):
    """Something that was made by a key."""

    @property
    def key_id(self) -> str:
        """Of the key; empty where that was not noted."""
        ...


def check_quota(quota: Quota, known: Collection[Made], principal: Principal, nouns: str, setting: str) -> None:
    """Raises Conflict where one more is too many. `known`: all that the organisation has; `setting`: how those that
    bound them begin."""
    if len(known) >= quota.of_org:
        raise Conflict(f"The organisation has {quota.of_org} {nouns}: no more are kept ({setting}_per_org).")
    of_key = sum(one.key_id == principal.key_id for one in known)
    if of_key >= quota.of_key:
        text = f"This key has made {of_key} {nouns}, as many as one key may have made ({setting}_per_key)."
        raise Conflict(f"{text} Delete some, or use another key.")
