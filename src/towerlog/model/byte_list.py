"""A sequence of byte strings that is held as one: an item is made when it is asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import overload


class Packed(Sequence[bytes]):
    """What `Names` and `Texts` have in common: which item an index means, and all of them in turn."""

    __slots__ = ()

    @abstractmethod
    def _at(self, index: int) -> bytes:
        """An item, made anew. `index`: 0 for the first, less than `len`."""

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self._at(one) for one in range(*index.indices(len(self)))]
        count = len(self)
        if not -count <= index < count:
            raise IndexError(index)
        return self._at(index % count)

    def __iter__(self) -> Iterator[bytes]:
        return map(self._at, range(len(self)))
