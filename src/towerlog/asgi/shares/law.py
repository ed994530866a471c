"""The law of what is shared: when there is no more, those who hold most give way to those who hold less.

Each share has a bound of its own. Where one that several use is full, whoever asks is held against the others in it.
Who holds more than the asker would, gives something up: a body that has not come whole is refused, a reply that is not
read is cut off, a poll or a stream ends, a connection is closed. Where nobody holds more, the asker goes without. So
what is short is divided as max-min fairness divides it: nobody gets more while somebody has less and wants more.

From this follows what everybody can rely on. With `n` who hold something of a share, the `n`-th part of its bound is
the **fair part** of each. Who stays within it is never refused: when the share is full and he holds no more than that,
somebody else holds more. What others hold may be work under way that cannot be given up. Then the whole of the process
is exceeded by what he takes, and that work ends soon; within an organisation he goes without.

Packet switches share one memory among their queues by the same rule, where it is called longest queue drop or push-out
(Wei, Coyle, Hsiao, 1991; Choudhury, Hahne, 1998).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter

from towerlog.asgi.shares.share import Resource, Share

_NEWEST_FIRST = Resource.CONNECTION
"""Of these the newest goes before the others: it has still to say what it wants, and they have had their time for that.
So of equals another gives way, and of the asker's own one that is idle."""
MAX_AT_ONCE = 32
"""Of more addresses than this that have as many connections as each other, so many make place at once: to look for the
fullest among thousands takes a millisecond, and should not be done for each newcomer."""
_IN_WORK = frozenset({Resource.BYTES, Resource.REPLIES})
"""Of these there are some that cannot be given up for the moment."""


def make_room(shares: Sequence[Share], at: int, resource: Resource, count: int) -> bool:
    """Has others give way until `count` more fit into `shares[at]`; False where the asker is to go without.

    `shares` begin with the asker's own; each is a child of the one after it.
    """
    top = shares[at]
    bound = top.bound(resource)
    while bound is not None and top.held(resource) + count > bound:
        if not _one_gives_way(shares, at, resource, count):
            return at == len(shares) - 1 and _is_fair(shares, resource, count, bound)
    return True


def _is_fair(shares: Sequence[Share], resource: Resource, count: int, bound: int) -> bool:
    """Whether the asker, who stays within his fair part, may exceed the whole: others are at work with theirs."""
    if resource not in _IN_WORK or len(shares) == 1:
        return False
    top, own = shares[-1], shares[-2]
    holders = sum(1 for child in top.children.values() if child is own or child.held(resource) > 0)
    return (own.held(resource) + count) * holders <= bound


def _one_gives_way(shares: Sequence[Share], at: int, resource: Resource, count: int) -> bool:
    """Has something given up below `shares[at]` by whoever holds most there; False where that is the asker."""
    for level in range(at, -1, -1):
        own = shares[level - 1] if level else None
        most = (own.held(resource) if own is not None else 0) + count - (resource is _NEWEST_FIRST)
        others = [child for child in shares[level].children.values() if child is not own]
        if _largest_gives_way(_largest_first(others, resource, most), resource):
            return True
    return resource is _NEWEST_FIRST and _gives_own(shares[0], resource)


def _largest_gives_way(larger: Sequence[Share], resource: Resource) -> bool:
    """Has something given up by the first that can; of connections by some of its equals too, where they are many."""
    for place, share in enumerate(larger):
        held = share.held(resource)
        if _gives_way(share, resource):
            if resource is _NEWEST_FIRST and len(larger) > MAX_AT_ONCE:
                equals = [one for one in larger[place + 1 : place + MAX_AT_ONCE] if one.held(resource) == held]
                for one in equals:
                    _gives_way(one, resource)
            return True
    return False


def _gives_way(share: Share, resource: Resource) -> bool:
    """Has something given up by whoever holds most of this share; False where nothing can be."""
    if any(_gives_way(child, resource) for child in _largest_first(share.children.values(), resource, 0)):
        return True
    holds = share.holds.get(resource)
    if not holds:
        return False
    first = max(holds, key=lambda hold: hold.worth())
    del holds[first]
    first.let_go()
    return True


def _gives_own(share: Share, resource: Resource) -> bool:
    return any(hold.worth() > 0 for hold in share.holds.get(resource, ())) and _gives_way(share, resource)


def _largest_first(shares: Iterable[Share], resource: Resource, most: int) -> list[Share]:
    """Those that hold more than `most`."""
    larger = [(held, share) for share in shares if (held := share.held(resource)) > most]
    larger.sort(key=itemgetter(0), reverse=True)
    return [share for _, share in larger]
