"""Sound that comes as a file, of any rate and channel count → samples at 16 kHz.

libsndfile reads WAV, FLAC, MP3, Ogg, AIFF and its like; `media_files` what else browsers and phones record.
"""

from __future__ import annotations

import asyncio
import io
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import soundfile

from model.audio import AudioError
from model.request import EngineFull
from server.media_files import media_blocks, media_format
from server.mono import MonoRecording, WorkLimit

READABLE = "WAV, FLAC, MP3, Ogg (Vorbis or Opus), AIFF, WebM, MP4, M4A, AAC or AMR"
_BLOCK_SAMPLES = 1 << 18
"""Read at once, all channels together."""
_RIFF_HEAD, _CHUNK_HEAD, _LONGEST_CHUNK = 12, 8, (1 << 32) - 1
_WORKERS = ThreadPoolExecutor(2, "sound-file")
"""Of their own: files that are slow to decode keep nobody waiting but other files."""
_MOST_FILES = 16
"""Read or waiting at the same time: each is held in memory."""
_waiting: set[object] = set()


async def read_sound_file(data: bytes, longest_s: float) -> np.ndarray:
    """`read_sound` in a thread. Raises `EngineFull` where too many files wait."""
    if len(_waiting) >= _MOST_FILES:
        raise EngineFull(f"{len(_waiting)} sound files are being read or waiting; try again later")
    ticket = object()
    _waiting.add(ticket)
    try:
        return await asyncio.get_running_loop().run_in_executor(_WORKERS, read_sound, data, longest_s)
    finally:
        _waiting.discard(ticket)


def read_sound(data: bytes, longest_s: float) -> np.ndarray:
    """A file's bytes → (n,) float32 mono at 16 kHz, at least one sample.

    It is read and resampled in blocks, so that what a small file unpacks to is bounded. Raises `AudioError` when it is
    no sound or takes too long to decode, `SoundTooLong` when it lasts longer than `longest_s`.
    """
    if not data:
        raise AudioError("the file is empty; send a recording")
    limit, recording = WorkLimit(longest_s), MonoRecording(longest_s)
    known = media_format(data)
    for block, rate in media_blocks(data, known, limit.check) if known else _blocks(data):
        limit.check()
        recording.add(block, rate)
    return recording.finish()


def _blocks(data: bytes) -> Iterator[tuple[np.ndarray, int]]:
    """((n, channels) float32, rate), in order."""
    try:
        with soundfile.SoundFile(_with_length(data)) as file:
            while len(block := file.read(max(1, _BLOCK_SAMPLES // file.channels), dtype="float32", always_2d=True)):
                yield block, int(file.samplerate)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"not a readable sound file ({error.error_string}); send {READABLE}") from error


def _with_length(data: bytes) -> io.BytesIO:
    """The file; a WAV whose head says that there are 0 bytes of samples, as a recorder writes that streams, says how
    many there are."""
    file = io.BytesIO(data)
    if data[:4] not in (b"RIFF", b"RIFX") or data[8:12] != b"WAVE":
        return file
    number = "<I" if data.startswith(b"RIFF") else ">I"
    for position, name, size in _chunks(data, _RIFF_HEAD, number):
        if name == b"data":
            start = position + _CHUNK_HEAD
            if size == 0 and start < len(data) and not _only_chunks(data, start, number):
                file.seek(start - 4)
                file.write(struct.pack(number, min(len(data) - start, _LONGEST_CHUNK)))
                file.seek(0)
            break
    return file


def _chunks(data: bytes, position: int, number: str) -> Iterator[tuple[int, bytes, int]]:
    """(position, name, size) of each chunk from a position on."""
    while position + _CHUNK_HEAD <= len(data):
        name, (size,) = data[position : position + 4], struct.unpack_from(number, data, position + 4)
        yield position, name, size
        position += _CHUNK_HEAD + size + size % 2


def _only_chunks(data: bytes, position: int, number: str) -> bool:
    """Whether chunks with names follow up to the very end, and no samples."""
    end = position
    for at, name, size in _chunks(data, position, number):
        if not (name.isascii() and name.decode().isprintable()):
            return False
        end = at + _CHUNK_HEAD + size + size % 2
    return end in (len(data), len(data) + 1)
