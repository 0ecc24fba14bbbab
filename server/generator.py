"""The one seam between the server and whatever answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from model.request import Event, Request


class Generator(Protocol):
    """Answers questions: the engine in this process, a cluster of them, or a script in tests.

    `model.async_engine.AsyncEngine` is one. Several answers may be asked for at the same time.
    """

    @property
    def name(self) -> str:
        """The model's name, by which clients choose it. Final once `start` has returned."""
        ...

    async def start(self) -> None:
        """Load what is needed; called once, before the first request."""
        ...

    async def stop(self) -> None:
        """Give everything back; answers still in progress may be cut off."""
        ...

    def generate(self, request: Request) -> AsyncGenerator[Event, None]:
        """Answer one question: `Heard` (spoken questions, where there is a transcript), then `TextDelta` and
        `AudioChunk` in any order, then `Done`.

        Closing the iterator cancels the answer within one engine step. Raises `EngineFull` when no slot or place in
        the queue is left, `InvalidRequest` when the request cannot be answered as it is, `GenerationFailed` when
        making this one answer broke.
        """
        ...

    def prefill_ahead(self, request: Request) -> None:
        """A hint: a conversation's next prompt will probably begin as this request's does, with its instructions and
        history, whatever is asked. Returns at once, and may do nothing.
        """
        ...
