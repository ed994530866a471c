"""Text that agents wrote, for a person who decides: what hides, reorders or erases is shown as the dashboard shows it
(`ui/src/model/text.ts`)."""

from __future__ import annotations

import re
import unicodedata
from html import escape

import msgspec

from towerlog.egress import plain

_NAMES = {0x1B: "ESC", 0x7F: "DEL", 0x200B: "ZWSP", 0xFEFF: "BOM"}
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of control characters, marks of direction, half characters and separators of lines."""
_WIDTHLESS = frozenset("\u115f\u1160\u3164\uffa0")
_JOINER, _AS_EMOJI = "\u200d", "\ufe0f"
_ESCAPE = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|.)", re.DOTALL
)


def visible(text: str, max_chars: int) -> str:
    """Escaped for HTML, cut to its beginning, every unseen character as `⟨name⟩`."""
    shown = plain.cut(text.replace("\r\n", "\n"), max_chars)
    return escape("".join(_seen(shown, at) for at in range(len(shown))))


def json_lines(raw: msgspec.Raw) -> str:
    """JSON in lines, its characters for escapes of them; numbers stay as they are written."""
    return _ESCAPE.sub(_unescaped, msgspec.json.format(bytes(raw), indent=2).decode())


def _seen(text: str, at: int) -> str:
    one = text[at]
    if one in "\n\t" or (unicodedata.category(one) not in _UNSEEN and one not in _WIDTHLESS):
        return one
    if one == _JOINER and _joins(text, at):
        return one
    return f"⟨{_NAMES.get(ord(one)) or f'U+{ord(one):04X}'}⟩"


def _joins(text: str, at: int) -> bool:
    """Whether a joiner stands between two pictures, as in many emoji."""
    before = text[max(at - 2, 0) : at].removesuffix(_AS_EMOJI)[-1:]
    return all(one and unicodedata.category(one) in ("So", "Sk") for one in (before, text[at + 1 : at + 2]))


def _unescaped(found: re.Match[str]) -> str:
    high, low, other = found.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF))
    # Quotes, backslashes, controls and halves of a pair stay as they are written.
    code = int(other, 16) if other else 0
    return chr(code) if code >= 0x20 and code not in (0x22, 0x5C) and not 0xD800 <= code < 0xE000 else found[0]
