"""What the process holds of memory that it does not use. Each in a process of its own: allocators remember."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")

_ARENAS = """
import ctypes, os, re, tempfile, threading
from model.process_memory import bound_memory
bound_memory()
kept, barrier = [], threading.Barrier(8)
def work():
    for _ in range(50):
        kept.append(bytes(60_000))
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
libc = ctypes.CDLL("libc.so.6")
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream), libc.fclose(stream)
    print(len(re.findall("<heap nr=", open(file.name).read())), os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"])
"""
_GIVE_BACK = """
import re
from model.process_memory import give_back_memory
def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
pieces = [bytes(60_000) for _ in range(4000)]
kept = pieces[::20]
del pieces
before = anonymous()
give_back_memory()
print(before - anonymous(), 0)
"""


def printed(script: str, **environment: str) -> list[int]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "ONEDNN_"))}
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**inherited, **environment}
    )
    return [int(word) for word in found.stdout.split()]


def test_heaps_and_compiled_shapes_are_bounded() -> None:
    arenas, primitives = printed(_ARENAS)
    assert arenas <= 2
    assert primitives == 48


def test_the_environment_goes_before() -> None:
    arenas, primitives = printed(_ARENAS, MALLOC_ARENA_MAX="5", ONEDNN_PRIMITIVE_CACHE_CAPACITY="7")
    assert arenas == 5
    assert primitives == 7


def test_what_was_needed_for_a_while_is_given_back() -> None:
    megabytes, _ = printed(_GIVE_BACK)
    assert megabytes > 150, "of 240 MB with a piece in twenty still in use"
