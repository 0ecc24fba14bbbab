"""A cache file of named arrays that every process on a machine maps as it is, and shares in memory.

    | header, 64 bytes | section | section | … | index |

Sections lie at multiples of 64 bytes. The header holds the file's size, where the index lies, and a SHA-256.
The index (JSON) holds the stamp of what was packed, each section's name, dtype, shape and offset, and a sum of all
sections, as 64-bit integers modulo 2^64: 0.1 s over 1 GB that is in memory, and the pages are mapped by it at once.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import mmap
import os
import struct
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock, Timeout

from model.weights.errors import WeightsError

log = logging.getLogger(__name__)

Sections = dict[str, np.ndarray]
Make = Callable[[], Iterable[tuple[str, np.ndarray]]]

_MAGIC = b"OMNIPACK"
VERSION = 1
"""Of this file format. What the sections mean is in the stamp."""
_ALIGNMENT = 64
_HEADER = struct.Struct("<8sIIQQQ16s8x")
"""Magic, version, 0, size of the file, offset and length of the index, start of the SHA-256 of all of it."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


@dataclass(frozen=True)
class _Section:
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


class _Damaged(Exception):
    """The file is missing, partial, of another version or stamp, or its content changed."""


def open_packed(path: Path | None, stamp: str, make: Make) -> Sections:
    """The sections of the packed file at `path`, read-only and mapped; the file is made first where it is not whole.

    `stamp` says of what, and in which layout: a file with another one is made anew. `make` yields the sections, which
    are written as they come. Processes that ask at the same time wait for the one that packs. Without a path, or where
    the folder cannot be written, sections are made in memory. Raises `WeightsError` where the disk is full.
    """
    if path is None:
        return _in_memory(make)
    try:
        return _read(path, stamp)
    except _Damaged as reason:
        log.info("packing %s, once: %s", path, reason)
    try:
        lock = _lock(path)
    except OSError as error:
        return _without_file(path, error, make)
    with lock:
        try:
            return _read(path, stamp)  # another process has packed it meanwhile
        except _Damaged:
            pass
        try:
            partial, stream = _open_partial(path)
        except OSError as error:
            return _without_file(path, error, make)
        _write(path, partial, stream, stamp, make)
        try:
            return _read(path, stamp)
        except _Damaged as reason:
            raise WeightsError(f"{path} is not as it was written ({reason}); check the disk") from None


def _in_memory(make: Make) -> Sections:
    sections = dict(make())
    for array in sections.values():
        array.flags.writeable = False
    return sections


def _without_file(path: Path, error: OSError, make: Make) -> Sections:
    """The sections in memory where `error` says that the folder cannot be written."""
    if error.errno in _FULL:
        raise _full(path.parent, make) from error
    if error.errno not in _UNWRITABLE:
        raise error
    log.warning(
        "%s cannot be written (%s): it is made in memory at every start and not shared; choose another folder "
        "with OMNI_CACHE_DIR or --cache-dir", path, error.strerror,
    )  # fmt: skip
    return _in_memory(make)


def _lock(path: Path) -> AbstractContextManager[object]:
    """The lock of those who pack this file, held until the end of a `with`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        log.info("another process is packing %s; waiting for it", path)
        return lock.acquire()


# -- reading ----------------------------------------------------------------------------------------------------------
def _read(path: Path, stamp: str) -> Sections:
    """The sections of a whole file with this stamp; `_Damaged` says what else it is."""
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size < _HEADER.size:
                raise _Damaged("it is empty or cut short" if size else "it is empty")
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise _Damaged("there is no such file yet") from None
    except (OSError, ValueError) as error:
        raise _Damaged(f"it cannot be read ({error})") from error
    magic, version, _, whole, begin, length, digest = _HEADER.unpack_from(mapped)
    if magic != _MAGIC:
        raise _Damaged("it is another kind of file")
    if version != VERSION:
        raise _Damaged(f"it is of version {version}, not {VERSION}")
    if whole != size or begin + length != size or _digest(size, begin, mapped[begin:]) != digest:
        raise _Damaged("it is cut short or damaged")
    index = json.loads(mapped[begin:])
    if index["stamp"] != stamp:
        raise _Damaged("other weights, or another layout, are packed in it")
    if _sum(np.frombuffer(mapped, np.uint64, (begin - _HEADER.size) // 8, _HEADER.size)) != index["sum"]:
        raise _Damaged("its content has changed")
    sections = (_Section(**fields) for fields in index["sections"])
    return {one.name: np.ndarray(tuple(one.shape), np.dtype(one.dtype), mapped, one.offset) for one in sections}


def _sum(words: np.ndarray) -> int:
    return int(np.add.reduce(words, dtype=np.uint64))


def _digest(size: int, begin: int, index: bytes) -> bytes:
    return hashlib.sha256(struct.pack("<IQQ", VERSION, size, begin) + index).digest()[:16]


# -- writing ----------------------------------------------------------------------------------------------------------
def _open_partial(path: Path) -> tuple[Path, BinaryIO]:
    """A new file beside `path`. The lock is held: what other processes left of theirs is removed."""
    for left in path.parent.glob(f"{path.name}.*.partial"):
        left.unlink(missing_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    return partial, partial.open("wb")


def _write(path: Path, partial: Path, stream: BinaryIO, stamp: str, make: Make) -> None:
    """Write the whole file, then put it in its place."""
    try:
        with stream:
            _write_sections(stream, stamp, make())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        partial.unlink()
        raise _full(path.parent, make) from error
    finally:
        partial.unlink(missing_ok=True)


def _write_sections(stream: BinaryIO, stamp: str, sections: Iterable[tuple[str, np.ndarray]]) -> None:
    stream.write(bytes(_HEADER.size))
    listed, total, offset = [], 0, _HEADER.size
    for name, array in sections:
        array = np.asarray(array, order="C")
        listed.append(_Section(name, array.dtype.str, array.shape, offset))
        flat = array.reshape(-1).view(np.uint8)
        tail = bytes(-array.nbytes % _ALIGNMENT)
        even = array.nbytes // 8 * 8
        rest = np.frombuffer(flat[even:].tobytes() + bytes(-array.nbytes % 8), np.uint64)
        total = (total + _sum(flat[:even].view(np.uint64)) + _sum(rest)) % 2**64
        stream.write(flat.data)
        stream.write(tail)
        offset += array.nbytes + len(tail)
    index = json.dumps({"stamp": stamp, "sections": [asdict(one) for one in listed], "sum": total}).encode()
    size = offset + len(index)
    stream.write(index)
    stream.flush()
    os.fsync(stream.fileno())  # the header, which makes the file valid, comes after all else is on the disk
    stream.seek(0)
    stream.write(_HEADER.pack(_MAGIC, VERSION, 0, size, offset, len(index), _digest(size, offset, index)))
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _full(folder: Path, make: Make) -> WeightsError:
    """The error for a full disk. The sections are made once more, and counted."""
    needed = sum(array.nbytes + _ALIGNMENT for _, array in make())
    return WeightsError(
        f"the disk is full: packing the weights needs {needed / 1e6:.0f} MB in {folder}; make room there, or choose "
        "another folder with OMNI_CACHE_DIR or --cache-dir"
    )
