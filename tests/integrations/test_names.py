"""The names by which programs import adapters are those of the SDK."""

from __future__ import annotations

from towerlog.integrations import pydantic_ai
from towerlog.sdk.integrations import pydantic_ai as adapter


def test_the_adapter_of_pydantic_ai_has_its_public_name() -> None:
    assert sorted(pydantic_ai.__all__) == ["adapt", "record"]
    assert (pydantic_ai.adapt, pydantic_ai.record) == (adapter.adapt, adapter.record)
