"""A list of JSON texts that is held as one: ten thousands of short messages take little more than their bytes."""

from __future__ import annotations

from array import array as packed_array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import msgspec

from towerlog.model.byte_list import Packed

FEW_TEXTS = 64
FEW_TEXTS_BYTES = 16 * 1024
"""So many, of so many bytes together, are held one by one: they take little memory either way, and are read several
times each."""
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


class Texts(Packed):
    """The items of a JSON array, each without blanks between its tokens. A text is made when it is asked for."""

    __slots__ = ("_array", "_begins")

    def __init__(self, text: bytes, items: list[msgspec.Raw] | None = None) -> None:
        """`text`: a JSON array. `items`: those of a compact one. Raises msgspec.DecodeError for what is none."""
        # In a compact array the items are compact, and one comma stands between two of them.
        self._array = compact = msgspec.json.format(text, indent=-1) if items is None else text
        items = _ITEMS.decode(compact) if items is None else items
        sizes = [memoryview(item).nbytes + 1 for item in items]
        self._begins = packed_array("I", accumulate(sizes, initial=1))
        """Where each item begins, and where one more would."""

    def __len__(self) -> int:
        return len(self._begins) - 1

    def _at(self, index: int) -> bytes:
        return self._array[self._begins[index] : self._begins[index + 1] - 1]

    def __eq__(self, other: object) -> bool:
        return self._array == other._array if isinstance(other, Texts) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._array)

    @property
    def size(self) -> int:
        """Bytes of all items, a comma for each included."""
        return self._begins[-1] - 1

    def array(self, first: int, end: int) -> bytes:
        """JSON array of the items from one to before another, of which there is one."""
        return b"[%b]" % self._array[self._begins[first] : self._begins[end] - 1]

    def end_of(self, first: int, size: int) -> int:
        """Behind the last item so that those from `first` on have no more than so many bytes; one at least."""
        return max(first + 1, bisect_right(self._begins, self._begins[first] + size) - 1)

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> Texts:
        """The same of texts that are held one by one."""
        return texts if isinstance(texts, Texts) else cls(b"[%b]" % b",".join(texts))


def texts_of(text: bytes) -> Sequence[bytes]:
    """The items of a JSON array, each without blanks between its tokens. Raises like `Texts`."""
    compact = msgspec.json.format(text, indent=-1)
    items = _ITEMS.decode(compact)
    is_small = len(items) <= FEW_TEXTS and len(compact) <= FEW_TEXTS_BYTES
    return tuple(map(bytes, items)) if is_small else Texts(compact, items)


def bytes_of(texts: Sequence[bytes]) -> int:
    """How many bytes texts have, about."""
    return texts.size if isinstance(texts, Texts) else sum(map(len, texts))
