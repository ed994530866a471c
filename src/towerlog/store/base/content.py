"""Content: the messages of checkpoints and the histories made of them, each under a hash of what it is.

Laws:

* **Stored once.** A second message, history node or meta list of the same key changes nothing; the key is the hash of
  the content, so the same key is the same content.
* A history is named by its last node; its messages come back first to last, byte for byte, whether they were kept one
  by one or several in a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class ContentStore(Protocol):
    """Reads of content."""

    async def history(self, org: int, node: bytes, length: int) -> list[bytes]:
        """The messages of the history that ends in this node, as many as `length`.

        Raises Damaged where one of them, or of what holds them together, is not what was written.
        """
        ...

    async def metas(self, org: int, key: bytes) -> list[bytes]:
        """The bodies of a meta list, first to last. Raises Damaged where one of them is not what was written."""
        ...

    async def known_nodes(self, org: int, prefixes: Sequence[bytes]) -> int:
        """The length of the longest of these prefixes of one history, the shortest first, that has a node; 0 for none.

        What is stored once stays, so the answer can only grow.
        """
        ...

    async def known_metas(self, org: int, prefixes: Sequence[bytes]) -> int:
        """The same of the prefixes of a meta list."""
        ...

    async def known_length(self, org: int, key: bytes) -> int | None:
        """How many messages the history has that ends in this node; None where it is not stored."""
        ...
