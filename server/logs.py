"""Structured logs: one JSON object a line, or coloured lines on a terminal. Uvicorn's go the same way."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from structlog.typing import FilteringBoundLogger

from server.limits import TokenBucket

_LINES_AT_ONCE = 20
_LINES_PER_S = 1.0


def configure_logging(level: str, style: Literal["auto", "json", "console"]) -> None:
    """Set up structlog and the standard library's logging for this process; everything goes to stderr."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    last: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    last += (
        [structlog.dev.ConsoleRenderer()]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True


@dataclass
class _Kind:
    """Lines of one event."""

    bucket: TokenBucket
    left_out: int = 0


class LimitedLog:
    """One connection's log. Of each event it writes 20 lines at once and one a second after that; how many were left
    out is said by a line `log_lines_left_out` as soon as there is room for another, and by `close`.
    """

    def __init__(self, log: FilteringBoundLogger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self._kinds: dict[str, _Kind] = {}

    def info(self, event: str, **fields: Any) -> None:
        """A line about what happened."""
        if self._may_write(event):
            self._log.info(event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        """A line about what a client did wrong."""
        if self._may_write(event):
            self._log.warning(event, **fields)

    def exception(self, event: str, **fields: Any) -> None:
        """A line about a fault of the server, with the trace of the exception at hand."""
        if self._may_write(event):
            self._log.exception(event, **fields)

    def close(self) -> None:
        """Say what was left out and not said yet."""
        for event, kind in self._kinds.items():
            self._tell(event, kind)

    def _may_write(self, event: str) -> bool:
        kind = self._kinds.get(event)
        if kind is None:
            kind = self._kinds[event] = _Kind(TokenBucket(_LINES_PER_S, _LINES_AT_ONCE, self._clock))
        if not kind.bucket.take(1):
            kind.left_out += 1
            return False
        self._tell(event, kind)
        return True

    def _tell(self, event: str, kind: _Kind) -> None:
        if kind.left_out:
            self._log.warning("log_lines_left_out", of=event, lines=kind.left_out)
            kind.left_out = 0
