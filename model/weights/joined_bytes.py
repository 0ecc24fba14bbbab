"""Reads little-endian values from one file, or from consecutive parts of one file."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from model.weights.errors import WeightsError


class JoinedBytes:
    """The bytes of files laid end to end, mapped into memory. `position` is where the next read begins."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Raises `WeightsError` for a file that cannot be read or is empty."""
        self.paths = tuple(paths)
        try:
            # copy-on-write: what is read stays the file's, and PyTorch takes writable arrays without a warning
            self._parts = [np.memmap(path, np.uint8, "c").data for path in self.paths]
        except (OSError, ValueError) as error:
            raise WeightsError(f"{self.name} cannot be read ({error}); fetch it again") from error
        self.size = sum(map(len, self._parts))
        self.position = 0

    @property
    def name(self) -> str:
        """The file, or the first and the last of its parts, for messages."""
        first, last = self.paths[0], self.paths[-1]
        return str(first) if first == last else f"{first} … {last.name}"

    def ends_early(self) -> WeightsError:
        """The error for a file that is shorter than it says."""
        return WeightsError(f"{self.name} ends early, at byte {self.size}; fetch it again")

    def read(self, count: int) -> memoryview:
        """The next `count` bytes: a view of the file; a copy where they lie in more than one part."""
        begin, end = self.position, self.position + count
        if end > self.size:
            raise self.ends_early()
        found = []
        for part in self._parts:
            if begin < len(part) and begin < end:
                found.append(part[max(0, begin) : end])
            begin, end = begin - len(part), end - len(part)
            if end <= 0:
                break
            begin = max(0, begin)
        self.position += count
        return found[0] if len(found) == 1 else memoryview(bytearray().join(found))

    def number(self, kind: str) -> int | float | bool:
        """The next number, of a type of the `struct` module."""
        value: int | float | bool = struct.unpack("<" + kind, self.read(struct.calcsize("<" + kind)))[0]
        return value

    def unsigned(self, kind: str) -> int:
        """The next integer, of a type of the `struct` module."""
        return int(self.number(kind))

    def string(self, length: str) -> str:
        """The next string; its length stands before it, as a number of this type."""
        return str(self.read(self.unsigned(length)), "utf-8")

    def strings(self, count: int) -> list[str]:
        """The next strings, with lengths of 8 bytes. Within a part there is no call for each: a vocabulary has many."""
        found: list[str] = []
        while len(found) < count:
            self._strings_of_one_part(count, found)
            if len(found) < count:
                found.append(self.string("Q"))
        return found

    def _strings_of_one_part(self, count: int, found: list[str]) -> None:
        """Append strings until there are `count`, or the next one does not end in the part that it begins in."""
        base, part = 0, memoryview(b"")
        for part in self._parts:
            if self.position < base + len(part):
                break
            base += len(part)
        at, end, length = self.position - base, len(part), struct.Struct("<Q").unpack_from
        while len(found) < count and at + 8 <= end:
            until = at + 8 + length(part, at)[0]
            if until > end:
                break
            found.append(str(part[at + 8 : until], "utf-8"))
            at = until
        self.position = base + at
