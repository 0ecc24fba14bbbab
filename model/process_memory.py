"""What the process holds of the machine's memory, beyond what it uses."""

from __future__ import annotations

import ctypes
import gc
import logging

log = logging.getLogger(__name__)


def give_back_memory() -> None:
    """Return to the system what opening needed for a while; glibc would keep a quarter of a gigabyte of it."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        log.debug("this C library has no malloc_trim")


def settle() -> None:
    """The same when all that stays is there: the collector need not look at it again while somebody talks."""
    give_back_memory()
    gc.freeze()
