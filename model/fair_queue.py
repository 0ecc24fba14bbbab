"""Fair shares between those who ask: round-robin queueing, and a bound on how much one may hold.

Round robin between flows is Nagle's fair queueing (RFC 970); the bound is the dynamic threshold of Choudhury and Hahne
(1998): nobody holds more than is left free, so that whoever comes next finds a place.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


def may_take(held: int, free: int) -> bool:
    """Whether a client that holds so many places may take one more, where so many are free.

    One client alone gets half of them; the next always finds one.
    """
    return free > 0 and (held == 0 or held < free)


class FairQueue(Generic[Item]):
    """One queue for each client; clients are served in turn, the items of one in their order.

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[Hashable, deque[Item]] = OrderedDict()

    def push(self, client: Hashable | None, item: Item) -> None:
        """Add an item. An item of None is the only one of its client."""
        self._waiting.setdefault(object() if client is None else client, deque()).append(item)

    def pop(self, ready: Callable[[Item], bool] = lambda _: True) -> Item | None:
        """Take the next item: of the first client in turn whose oldest item is ready. None: there is none."""
        client = self._next(ready)
        if client is None:
            return None
        items = self._waiting.pop(client)
        item = items.popleft()
        if items:
            self._waiting[client] = items  # behind everybody else
        return item

    def has(self, ready: Callable[[Item], bool]) -> bool:
        """Whether `pop` would find an item."""
        return self._next(ready) is not None

    def waits(self, client: Hashable | None) -> bool:
        """Whether there is an item of this client."""
        return client is not None and client in self._waiting

    def remove(self, unwanted: Callable[[Item], bool]) -> None:
        """Drop items, wherever they are."""
        for client, items in list(self._waiting.items()):
            kept = deque(item for item in items if not unwanted(item))
            if kept:
                self._waiting[client] = kept
            else:
                del self._waiting[client]

    def __len__(self) -> int:
        return sum(len(items) for items in self._waiting.values())

    def __iter__(self) -> Iterator[Item]:
        for items in self._waiting.values():
            yield from items

    def _next(self, ready: Callable[[Item], bool]) -> Hashable | None:
        return next((client for client, items in self._waiting.items() if ready(items[0])), None)
