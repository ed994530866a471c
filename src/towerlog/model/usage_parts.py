"""What the price of a model call goes by beside its buckets: tokens in them with a price of their own, and its terms.

The names are those of the list of prices. Nothing of this is counted: it is in the buckets already.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

STANDARD_TERMS = frozenset(
    {"", "auto", "default", "none", "on_demand", "standard", "standard_only", "traffic_type_unspecified", "unspecified"}
)
"""What senders call the service that most prices are of."""
_TERMS = {"on_demand_flex": "flex", "on_demand_priority": "priority"}


class Modality(NamedTuple):
    """Tokens of a call that are neither text nor of unknown kind; None: nobody has told."""

    input: int | None
    """All of them, also those from a cache."""
    cached: int | None
    output: int | None


class UsageParts(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Parts of the buckets of a call, as they were told."""

    cache_write_1h_tokens: int | None = None
    """Written to a cache for an hour."""
    input_audio_tokens: int | None = None
    cache_audio_read_tokens: int | None = None
    output_audio_tokens: int | None = None
    input_image_tokens: int | None = None
    cache_image_read_tokens: int | None = None
    output_image_tokens: int | None = None
    input_video_tokens: int | None = None
    cache_video_read_tokens: int | None = None
    output_video_tokens: int | None = None
    tier: str | None = None
    """The terms of the call, as providers call them: `batch`, `flex`, `priority`; None for the standard ones."""
    is_unclear: bool = False
    """There are such parts, and nobody knows which of these tokens they are: no price can be told."""

    def audio(self) -> Modality:
        """The tokens of audio."""
        return Modality(self.input_audio_tokens, self.cache_audio_read_tokens, self.output_audio_tokens)

    def image(self) -> Modality:
        """Those of images."""
        return Modality(self.input_image_tokens, self.cache_image_read_tokens, self.output_image_tokens)

    def video(self) -> Modality:
        """Those of video."""
        return Modality(self.input_video_tokens, self.cache_video_read_tokens, self.output_video_tokens)


COUNTED_PARTS = tuple(name for name in UsageParts.__struct_fields__ if name.endswith("_tokens"))
NO_PARTS = UsageParts()
UNCLEAR = UsageParts(is_unclear=True)


def known_parts(parts: UsageParts) -> UsageParts | None:
    """The parts; None where they change no price. That nearly every call has 0 of them need not be remembered."""
    told = msgspec.structs.replace(parts, **{name: getattr(parts, name) or None for name in COUNTED_PARTS})
    # That none of the cached tokens is audio tells where the others are.
    for whole, cached in (
        ("input_audio_tokens", "cache_audio_read_tokens"),
        ("input_image_tokens", "cache_image_read_tokens"),
        ("input_video_tokens", "cache_video_read_tokens"),
    ):
        if getattr(told, whole) and getattr(parts, cached) == 0:
            told = msgspec.structs.replace(told, **{cached: 0})
    return None if told == NO_PARTS else told


def tier_of(*words: str | None) -> str | None:
    """The terms of a call by what its sender calls them, of which the first that is not the standard counts."""
    for word in words:
        told = "" if word is None else word.strip().lower()
        told = _TERMS.get(told, told)
        if told not in STANDARD_TERMS:
            return told
    return None


_OF_CACHE = ("cache_audio_read_tokens", "cache_image_read_tokens", "cache_video_read_tokens")
_OF_INPUT = ("input_audio_tokens", "input_image_tokens", "input_video_tokens")
PARTS_IN = {
    "input_tokens": (*_OF_INPUT, *_OF_CACHE),
    "cached_input_tokens": (*_OF_INPUT, *_OF_CACHE),
    "cache_write_tokens": ("cache_write_1h_tokens",),
    "output_tokens": ("output_audio_tokens", "output_image_tokens", "output_video_tokens"),
}
"""Bucket → the parts that may be in it."""
