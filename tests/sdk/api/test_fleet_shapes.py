"""Answers about who works become values; a key's text is in no repr."""

from __future__ import annotations

from towerlog.sdk.api.fleet_shapes import ApiKey, LaneInfo, Queue


def test_a_queue_has_its_lanes() -> None:
    lease = {"state": "held", "worker_id": "w", "lease_epoch": 1}
    lane = {"run_id": "r", "thread_id": "t", "agent": "a", "lease": lease, "labels": {"gpu": "1"}}
    queue = Queue.read({"queued": 0, "held": 1, "data": [lane], "next": None})
    [found] = queue.data
    assert isinstance(found, LaneInfo)
    assert (found.lease.worker_id, found.labels) == ("w", {"gpu": "1"})


def test_a_keys_text_is_in_no_repr() -> None:
    key = ApiKey.read({"key_id": "k", "name": "n", "scopes": ["read"], "key": "tl_live_secret"})
    assert key.key == "tl_live_secret"
    assert "secret" not in repr(key)
