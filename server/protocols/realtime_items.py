"""Items of a Realtime conversation ⇄ messages of ours."""

from __future__ import annotations

import secrets
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from server.audio import MicrophoneDecoder
from server.memory import Message
from server.protocols.messages import BadMessage, Base64, SoundField, decode_base64
from server.protocols.realtime_session import AudioFormat, parse

Status = Literal["completed", "incomplete", "in_progress"]
_MAX_CHARACTERS = 20_000
_MAX_PARTS = 64


class _Content(BaseModel):
    model_config = ConfigDict(extra="ignore")
    type: str = Field(max_length=64)
    text: str | None = Field(default=None, max_length=_MAX_CHARACTERS)
    audio: SoundField | None = None
    transcript: str | None = Field(default=None, max_length=_MAX_CHARACTERS)


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore")
    type: str = Field(max_length=64)
    role: Literal["user", "assistant", "system"] = "user"
    id: str | None = Field(default=None, min_length=1, max_length=64)
    content: list[_Content] = Field(default=[], max_length=_MAX_PARTS, fail_fast=True)


def new_id(kind: str) -> str:
    """An id that nothing else has."""
    return f"{kind}_{secrets.token_hex(10)}"


async def read_item(item: Any, audio_format: AudioFormat, longest_s: float, where: str = "item") -> Message:
    """What a client wants in the conversation. Raises `BadMessage` for what the model cannot read."""
    if not isinstance(item, dict):
        raise BadMessage("invalid_type", f"{where} must be an object", where)
    given = parse(_Item, item, where)
    if given.type != "message":
        message = f"items of type {given.type!r} are not supported: the model calls no tools; send a message"
        raise BadMessage("invalid_value", message, f"{where}.type")
    texts, sounds = await _read_content(given, where)
    if sounds and texts:
        raise BadMessage("invalid_value", "send text and audio as items of their own", f"{where}.content")
    sound = await _sound(sounds, audio_format, longest_s, f"{where}.content") if sounds else None
    text = None if sounds else "\n".join(texts).strip()
    if text == "":
        raise BadMessage("invalid_value", "the item holds no text", f"{where}.content")
    return Message(given.id or new_id("item"), given.role, text, sound)


async def _read_content(given: _Item, where: str) -> tuple[list[str], list[bytes]]:
    """(the texts, the bytes of the sounds) of an item's parts."""
    texts: list[str] = []
    sounds: list[bytes] = []
    for index, part in enumerate(given.content):
        place = f"{where}.content[{index}]"
        if part.type == "input_audio" and given.role == "user":
            sounds.append(await read_audio(part.audio or "", f"{place}.audio"))
        elif part.type in ("input_text", "output_text", "text") and part.text is not None:
            texts.append(part.text)
        elif part.type in ("output_audio", "audio") and given.role == "assistant" and part.transcript:
            texts.append(part.transcript)
        else:
            message = f"content of type {part.type!r} cannot be read from the {given.role}; send text" + (
                " or input_audio" if given.role == "user" else ""
            )
            raise BadMessage("invalid_value", message, f"{place}.type")
    return texts, sounds


def seconds_of(item: Any, audio_format: AudioFormat) -> float:
    """How much sound a client's item holds, without decoding it."""
    content = item.get("content") if isinstance(item, dict) else None
    parts = [part.get("audio") for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    encoded = sum(len(audio) for audio in parts if isinstance(audio, str | memoryview))
    return encoded * 3 / 4 / (2 if audio_format.encoding == "pcm16" else 1) / audio_format.sample_rate


def show_item(message: Message, now: float, status: Status = "completed", empty: bool = False) -> dict[str, Any]:
    """A message as clients read it: text and transcripts, without sound. `empty`: its content is still to come."""
    said = message.said(now)
    if message.role != "assistant" and (message.text is None or message.spoken):
        content = [{"type": "input_audio", "transcript": message.text}]
    elif message.role != "assistant":
        content = [{"type": "input_text", "text": said}]
    elif message.answer is not None and message.answer.sent_ms:
        content = [{"type": "output_audio", "transcript": said}]
    else:
        content = [{"type": "output_text", "text": said}]
    return item(message.key, message.role, [] if empty else content, status)


def item(key: str, role: str, content: list[dict[str, Any]], status: Status) -> dict[str, Any]:
    """One item."""
    return {
        "id": key,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": role,
        "content": content,
    }


async def read_audio(data: Base64, where: str) -> bytes:
    """Base64 → bytes. Raises `BadMessage`."""
    try:
        return await decode_base64(data)
    except ValueError:
        raise BadMessage("invalid_value", f"{where} is not base64; send the bytes of the sound so", where) from None


async def _sound(parts: list[bytes], audio_format: AudioFormat, longest_s: float, where: str) -> np.ndarray:
    """(n,) float32, 16 kHz, the whole of a recording. Raises `BadMessage`, before anything is resampled, where it is
    empty or longer than that."""
    decoder = MicrophoneDecoder(audio_format.sample_rate, audio_format.encoding)
    whole = b"".join(part[: len(part) // decoder.sample_bytes * decoder.sample_bytes] for part in parts)
    seconds = decoder.seconds(whole)
    if not 0 < seconds <= longest_s:
        raise BadMessage("invalid_value", f"{seconds:.1f} s of audio; send up to {longest_s:g} s", where)
    return np.concatenate([piece async for piece in decoder.decode_in_slices(whole, last=True)])
