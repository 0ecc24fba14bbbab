"""What the process holds of the machine's memory, beyond what it uses."""

from __future__ import annotations

import ctypes
import gc
import logging
import os

log = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Of glibc's `mallopt`."""
ARENAS = 2
"""Heaps of the C library. It makes one for every thread, up to eight a core, and each keeps what it once needed."""
OWN_MAPPING, KEPT_FREE = 4 << 20, 16 << 20
"""Bytes: a block from this size on is a mapping of its own, which goes back to the system when it is freed; and so much
may stay free at a heap's end. glibc would raise both, up to 32 and 64 MB, with every block that is freed."""
PRIMITIVES = "48"
"""Of oneDNN, which compiles code for every shape that it meets and keeps 1024 of them, 0.3 MB each: each length of
speech brings ten."""


def bound_memory() -> None:
    """Before the first thread and the first network: keep the C library and oneDNN from holding on to what they need
    for a while. The environment's own `MALLOC_…` and `ONEDNN_…` variables go before."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", PRIMITIVES)
    for name, parameter, value in (
        ("MALLOC_ARENA_MAX", _M_ARENA_MAX, ARENAS),
        ("MALLOC_MMAP_THRESHOLD_", _M_MMAP_THRESHOLD, OWN_MAPPING),
        ("MALLOC_TRIM_THRESHOLD_", _M_TRIM_THRESHOLD, KEPT_FREE),
    ):
        if name not in os.environ:
            _libc_call("mallopt", parameter, value)


def give_back_memory() -> None:
    """Return to the system what was needed for a while: glibc would keep a quarter of a gigabyte of opening, and more
    of a hundred answers. Takes tens of milliseconds."""
    gc.collect()
    _libc_call("malloc_trim", 0)


def settle() -> None:
    """The same when all that stays is there: the collector need not look at it again while somebody talks."""
    give_back_memory()
    gc.freeze()


def _libc_call(name: str, *arguments: int) -> None:
    try:
        getattr(ctypes.CDLL("libc.so.6"), name)(*arguments)
    except (OSError, AttributeError):
        log.debug("this C library has no %s", name)
