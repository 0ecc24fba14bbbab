"""JSON from clients, read at a cost that is bounded before it is parsed, whatever the client sends.

Three bounds hold for every protocol, because parsing and validating are one step of the event loop: the bytes of JSON
beside base64 sound, the values in it, and what pydantic collects about it.
"""

from __future__ import annotations

import asyncio
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ValidationError, WithJsonSchema
from pydantic_core import from_json

from server.events import Problem

JSON_BYTES = 256 << 10
"""Of a message beside its sound. The longest text field, 20,000 characters, takes 240,000 bytes where each character is
two \\u escapes (outside the Unicode BMP)."""
_SHORT_BYTES = 64 << 10
"""JSON of so many bytes takes less than 3 ms to parse, whatever it holds."""
_COMMAS = 32_768
"""Of longer JSON. There is at most one more value than commas on each level, so texts may be long and lists may not."""
VALUES = 2048
"""In one message: a `response.create` with 128 items of text holds about 1,000."""
_SHOWN_CHARACTERS = 64
"""Of a client's own names in an error about them."""

_SOUND = re.compile(rb'"audio"\s*:\s*"')
_LONG_SOUND = 1024
"""Bytes of base64 that are taken out of the JSON before it is parsed."""
_BASE64_SLICE = 1 << 16
"""Bytes of base64 that are decoded at once: less than a millisecond."""
_ESCAPE = re.compile(rb"\\(?:u00([0-9A-Fa-f]{2})|(/))")
"""JSON escapes of base64's characters: some libraries write "/" and "+" so."""

_Model = TypeVar("_Model", bound=BaseModel)
Base64 = str | memoryview
"""Of a long message, a view of the message's bytes."""


class BadMessage(Exception):
    """A client's message that cannot be done; `problem` is what to tell it."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.problem = Problem(code, message, field=field)


class BadField(Exception):
    """A field that is not valid: pydantic's `kind` of error, the `steps` to the field, and `problem`, a sentence."""

    def __init__(self, kind: str, steps: tuple[str | int, ...], problem: str) -> None:
        super().__init__(problem)
        self.kind, self.steps, self.problem = kind, steps, problem

    @property
    def path(self) -> str:
        """The steps, such as "content.0.text"."""
        return ".".join(map(str, self.steps))


# JSON


def read_object(data: bytes | bytearray, example: str, limit: int = JSON_BYTES) -> dict[str, Any]:
    """A message → its JSON object. `limit` bounds its bytes beside `audio`, whose long values are views of `data`.

    Raises `BadMessage`: `frame_too_large`, `too_many_values` or `invalid_json`.
    """
    sounds: dict[str, memoryview] = {}
    if len(data) > _SHORT_BYTES:
        data, sounds = _take_sounds_out(data, limit)
        if len(data) > _SHORT_BYTES and data.count(b",") > _COMMAS:
            raise _too_many_values(_COMMAS)
    try:
        read = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise BadMessage(
            "invalid_json", f"this is not JSON ({error}); send one JSON object, such as {example}"
        ) from None
    if not isinstance(read, dict):
        raise BadMessage("invalid_json", f"this is JSON but no object; send one JSON object, such as {example}")
    _count_values(read, sounds)
    return read


def too_large(count: int, limit: int) -> BadMessage:
    """What a client is told of a message of more bytes than its kind may have."""
    return BadMessage("frame_too_large", f"a message of {count} bytes; send at most {limit} bytes in one of this type")


def _too_many_values(limit: int) -> BadMessage:
    message = f"the JSON holds more than {limit} values; send fewer keys and shorter lists"
    return BadMessage("too_many_values", message)


def _take_sounds_out(data: bytes | bytearray, limit: int) -> tuple[bytes, dict[str, memoryview]]:
    """(the JSON with a short name in place of each long value of `audio`, those values by name)."""
    view = memoryview(data)
    kept: list[bytes | bytearray] = []
    sounds: dict[str, memoryview] = {}
    kept_bytes = at = searched = 0
    for _ in range(VALUES):
        key = _SOUND.search(data, searched, at + limit + 1 - kept_bytes)
        searched = -1 if key is None else data.find(b'"', key.end())
        if key is None or searched < 0:
            break
        begin = key.end()
        if searched - begin >= _LONG_SOUND:
            name = f"sound {len(sounds)}"
            sounds[name] = view[begin:searched]
            kept += [data[at:begin], name.encode()]
            kept_bytes += len(kept[-2]) + len(name)
            at = searched
    beside = kept_bytes + len(data) - at
    if beside > limit:
        message = f"the message holds {beside} bytes of JSON beside its sound; send at most {limit}"
        raise BadMessage("frame_too_large", message)
    return b"".join([*kept, data[at:]]), sounds


def _count_values(root: dict[str, Any], sounds: dict[str, memoryview]) -> None:
    """Raises `BadMessage` where there are too many; puts the sounds back."""
    count = 0
    open_: list[dict[str, Any] | list[Any]] = [root]
    while open_:
        node = open_.pop()
        count += len(node)
        if count > VALUES:
            raise _too_many_values(VALUES)
        if isinstance(node, dict) and isinstance(name := node.get("audio"), str) and name in sounds:
            node["audio"] = sounds.pop(name)
        open_ += [one for one in (node.values() if isinstance(node, dict) else node) if isinstance(one, dict | list)]


# fields


def _is_base64(value: Any) -> Any:
    if not isinstance(value, Base64):
        raise ValueError("this must be a string: the bytes of the sound in base64")
    return value


SoundField = Annotated[Any, AfterValidator(_is_base64), WithJsonSchema({"type": "string"})]
"""Base64, which pydantic does not walk through."""


def read_fields(kind: type[_Model], data: Mapping[str, Any]) -> _Model:
    """Raises `BadField` about the first field that is not valid."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        steps = _steps(first["loc"], data, first["type"] == "missing")
        raise BadField(first["type"], steps, first["msg"].removeprefix("Value error, ")) from None


def _steps(location: Sequence[str | int], data: Any, missing: bool) -> tuple[str | int, ...]:
    """pydantic's location of an error, without names of pydantic's own: those of a union's members, which are no keys
    of the data. A `missing` field is no key either, and the last step."""
    steps: list[str | int] = []
    for number, step in enumerate(location):
        if isinstance(step, int):
            steps.append(step)
            data = data[step] if isinstance(data, list) and step < len(data) else None
        elif (isinstance(data, Mapping) and step in data) or (missing and number == len(location) - 1):
            steps.append(step[:_SHOWN_CHARACTERS])
            data = data.get(step) if isinstance(data, Mapping) else None
    return tuple(steps)


# sound


def base64_pieces(text: Base64) -> Iterator[bytes]:
    """What base64 text says, a bounded piece at a time. Raises `ValueError` where it is none."""
    escaped = isinstance(text, memoryview)  # of JSON that was not parsed
    data = text if isinstance(text, memoryview) else memoryview(text.encode("ascii"))
    held = b""
    for start in range(0, len(data), _BASE64_SLICE):
        piece, last = held + bytes(data[start : start + _BASE64_SLICE]), start + _BASE64_SLICE >= len(data)
        rest = b""
        if escaped and b"\\" in piece:
            cut = piece.rfind(b"\\", len(piece) - 5)
            if cut >= 0 and not last:
                piece, rest = piece[:cut], piece[cut:]
            piece = _ESCAPE.sub(lambda found: found[2] or bytes.fromhex(found[1].decode()), piece)
        whole = len(piece) if last else len(piece) // 4 * 4
        held = piece[whole:] + rest
        if not last and piece[:whole].endswith(b"="):
            raise ValueError("padding before the end")
        yield binascii.a2b_base64(piece[:whole], strict_mode=True)


async def decode_base64(text: Base64) -> bytes:
    """The same as a whole; others get their turn between the pieces."""
    pieces: list[bytes] = []
    for piece in base64_pieces(text):
        if pieces:
            await asyncio.sleep(0)
        pieces.append(piece)
    return b"".join(pieces)
