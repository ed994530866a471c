"""Content: the messages of checkpoints, each distinct one of an organisation once, and the histories made of them.

Laws:

* **Stored once.** A second message, history node or meta list of the same key changes nothing; the key is the hash of
  the content, so the same key is the same content.
* A history is named by its last node; its messages come back first to last, byte for byte.
"""

from __future__ import annotations

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
