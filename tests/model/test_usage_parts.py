"""Parts of buckets: what they cost, and when nobody can tell; what is left of them where others have told the rest."""

from __future__ import annotations

import msgspec
import pytest

from towerlog.model.price import FEMTOS_PER_NANO, PriceCard, Rates, filled
from towerlog.model.span import ToldCall
from towerlog.model.usage import Usage, UsageReport
from towerlog.model.usage_parts import NO_PARTS, UNCLEAR, UsageParts, known_parts, tier_of

NANO = FEMTOS_PER_NANO
PLAIN = PriceCard(filled(Rates(NANO, 2 * NANO, 3 * NANO, 4 * NANO)), "v")
RICH = PriceCard(
    msgspec.structs.replace(
        PLAIN.rates,
        cache_write_1h=10 * NANO,
        input_audio=20 * NANO,
        cached_audio=30 * NANO,
        output_audio=40 * NANO,
        input_image=50 * NANO,
        cached_image=60 * NANO,
        output_image=70 * NANO,
    ),
    "v",
)
CALL = Usage(1000, 200, 100, 50, 5)
TEXT = 1000 + 400 + 300 + 200 + 20


@pytest.mark.parametrize(
    ("parts", "more"),
    [
        (UsageParts(cache_write_1h_tokens=40), 40 * 7),
        (UsageParts(input_audio_tokens=900, cache_audio_read_tokens=0), 900 * 19),
        (UsageParts(input_audio_tokens=900, cache_audio_read_tokens=200), 700 * 19 + 200 * 28),
        (UsageParts(cache_audio_read_tokens=200), 200 * 28),
        (UsageParts(output_audio_tokens=50), 50 * 36),
        (UsageParts(input_image_tokens=10, cache_image_read_tokens=4, output_image_tokens=5), 6 * 49 + 4 * 58 + 5 * 66),
    ],
)
def test_each_part_has_its_price_and_the_rest_that_of_its_bucket(parts: UsageParts, more: int) -> None:
    assert RICH.cost_nanos(CALL, parts) == TEXT + more
    assert RICH.cost_nanos(CALL) == PLAIN.cost_nanos(CALL) == TEXT


@pytest.mark.parametrize(
    "parts",
    [
        UsageParts(cache_write_1h_tokens=40),
        UsageParts(input_audio_tokens=900, cache_audio_read_tokens=0),
        UsageParts(cache_audio_read_tokens=1),
        UsageParts(output_audio_tokens=1),
        UsageParts(output_image_tokens=1),
        UNCLEAR,
    ],
)
def test_a_part_without_a_price_is_never_priced_as_something_else(parts: UsageParts) -> None:
    assert PLAIN.cost_nanos(CALL, parts) is None


def test_pictures_that_are_read_cost_what_text_does_unless_they_have_a_price() -> None:
    assert PLAIN.cost_nanos(CALL, UsageParts(input_image_tokens=10, input_video_tokens=500)) == TEXT


@pytest.mark.parametrize(
    "parts",
    [
        UsageParts(cache_write_1h_tokens=101),
        UsageParts(output_audio_tokens=51),
        UsageParts(input_audio_tokens=10, cache_audio_read_tokens=11),
        UsageParts(input_audio_tokens=1001, cache_audio_read_tokens=0),
        UsageParts(input_audio_tokens=900),
    ],
    ids=[
        "more than written",
        "more than put out",
        "more cached than there is",
        "more than is new",
        "of the cache or not",
    ],
)
def test_what_does_not_add_up_has_no_price(parts: UsageParts) -> None:
    assert RICH.cost_nanos(CALL, parts) is None


def test_how_much_audio_came_from_a_cache_is_told_by_the_sums_where_they_leave_no_choice() -> None:
    assert RICH.cost_nanos(Usage(100, 50, output_tokens=0), UsageParts(input_audio_tokens=150)) == 100 * 20 + 50 * 30
    assert RICH.cost_nanos(Usage(100, 0, output_tokens=0), UsageParts(input_audio_tokens=60)) == 40 + 60 * 20


def test_parts_of_nothing_are_not_remembered_but_that_no_audio_was_cached_is() -> None:
    assert known_parts(UsageParts(input_audio_tokens=0, output_audio_tokens=0, cache_audio_read_tokens=0)) is None
    kept = UsageParts(input_audio_tokens=5, cache_audio_read_tokens=0)
    assert known_parts(kept) == kept
    assert known_parts(NO_PARTS) is None


@pytest.mark.parametrize(
    ("words", "tier"),
    [
        ((None,), None),
        (("default",), None),
        (("standard", "fast"), "fast"),
        (("Priority",), "priority"),
        (("ON_DEMAND",), None),
        (("ON_DEMAND_FLEX",), "flex"),
        (("scale",), "scale"),
    ],
)
def test_terms_are_those_that_are_not_the_standard(words: tuple[str | None, ...], tier: str | None) -> None:
    assert tier_of(*words) == tier


def test_the_rest_of_a_call_has_the_parts_of_buckets_that_are_whole() -> None:
    parts = UsageParts(cache_write_1h_tokens=40, output_audio_tokens=30, tier="flex")
    told = Usage(1000, None, 100, 50)

    def rest(inner: Usage) -> UsageParts | None:
        return ToldCall("s", None, told, inner, parts=parts).own_parts()

    assert rest(Usage()) == parts
    assert rest(Usage(1000)) == parts
    assert rest(Usage(1000, None, 100)) == UsageParts(output_audio_tokens=30, tier="flex")
    assert rest(Usage(1000, None, 100, 50)) == UsageParts(tier="flex")
    assert rest(Usage(1000, None, 100, 20)) == UNCLEAR
    assert rest(Usage(500, None, 60, 50)) == UNCLEAR


def test_what_a_total_with_parts_adds_has_no_price() -> None:
    """It may be those parts or others, and nobody knows."""
    parts = UsageParts(cache_write_1h_tokens=40)
    assert UsageReport(CALL, "delta", parts=parts).parts_to_price() == parts
    assert UsageReport(CALL, "total", parts=parts).parts_to_price() == UNCLEAR
    assert UsageReport(CALL, "total").parts_to_price() is None


def test_parts_survive_their_way_into_the_log_and_change_no_event_without_any() -> None:
    parts = UsageParts(input_audio_tokens=5, cache_audio_read_tokens=0, tier="flex")
    for report in (UsageReport(CALL, "delta", parts=parts), UsageReport(CALL, "delta")):
        assert msgspec.json.decode(msgspec.json.encode(report), type=UsageReport) == report
    assert b"parts" not in msgspec.json.encode(UsageReport(CALL, "delta"))
    assert b"cache_write_1h" not in msgspec.json.encode(PLAIN.rates), "nor a price in the log"
