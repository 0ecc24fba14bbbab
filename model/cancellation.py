"""Work that is given up half-way when nobody wants its result any more.

Hearing takes hundreds of milliseconds of both cores. Somebody who paused and speaks on makes it useless, and the next
hearing must not wait for it. The loops inside it ask `give_up_if_unwanted` every few milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_wanted: ContextVar[Callable[[], bool]] = ContextVar("wanted", default=lambda: True)


class Unwanted(Exception):
    """Nobody waits for this result any more."""


@contextmanager
def while_wanted(wanted: Callable[[], bool]) -> Iterator[None]:
    """What runs inside raises `Unwanted` at its next chance once `wanted()` is false."""
    token = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(token)


def give_up_if_unwanted() -> None:
    """Raises `Unwanted` when what is being done is wanted no more."""
    if not _wanted.get()():
        raise Unwanted
