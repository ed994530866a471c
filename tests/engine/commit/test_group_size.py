"""How much work a group may be, by what the groups before it took."""

from __future__ import annotations

from towerlog.engine.commit.group_size import MAX_GROUP_WORK, MIN_GROUP_WORK, PLACED_MS, GroupSize


def noted(size: GroupSize, took_ms: int, groups: int = 40) -> list[int]:
    """How much a group may be after each of these."""
    most = []
    for _ in range(groups):
        size.note(took_ms)
        most.append(size.most)
    return most


def test_it_falls_while_groups_take_long_and_rises_again_when_they_do_not() -> None:
    size = GroupSize()
    assert size.most == MAX_GROUP_WORK
    falling = noted(size, PLACED_MS + 1)
    assert falling == sorted(falling, reverse=True)
    assert falling[0] < MAX_GROUP_WORK
    assert falling[-1] == MIN_GROUP_WORK
    rising = noted(size, 0)
    assert rising == sorted(rising)
    assert rising[0] > MIN_GROUP_WORK
    assert rising[-1] == MAX_GROUP_WORK


def test_in_between_it_stays() -> None:
    size = GroupSize()
    noted(size, PLACED_MS + 1, groups=3)
    before = size.most
    assert noted(size, PLACED_MS) == [before] * 40
