"""Names of organisations: which of them a person would take for one another. People sign in by such a name."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_LATIN = str.maketrans(
    "аеорсухіјѕһԁԛԝӏкмтвнг" + "αοινρτυχκηγω",
    "aeopcyxijshdqwlkmtbhr" + "aoivptuxknyw",
)
"""Letters of other alphabets, small and folded, that look like Latin ones. Only to compare names."""


def outline_of(name: str) -> str:
    """What the eye takes of a name: the same for other cases, widths, compositions, blanks, letters that look alike."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.translate(_LATIN).split())


def taken(name: str, known: Iterable[str]) -> str | None:
    """The first of these names that is the same, or looks like it; None where it is free."""
    outline = outline_of(name)
    return next((other for other in known if other == name or outline_of(other) == outline), None)
