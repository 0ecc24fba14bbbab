"""Recordings as files: what browsers, phones and streaming recorders make, and what a stranger may send instead."""

from __future__ import annotations

import asyncio
import io
import resource
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from model.audio import AudioError
from model.request import EngineFull
from server.media_files import media_format
from server.mono import CHANNELS, MonoRecording, SoundTooLong, WorkLimit
from server.sound_files import read_sound, read_sound_file
from tests.server.harness import FakeClock, running
from tests.server.media import media_file, tone
from tests.server.scripted import ScriptedGenerator

LONGEST_S = 60.0


def loudness(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def pitch(samples: np.ndarray) -> float:
    """Hertz of what is loudest."""
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * 16_000 / len(samples))


def wav(samples: np.ndarray, rate: int = 16_000, **options: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **{"format": "WAV", "subtype": "PCM_16", **options})
    return file.getvalue()


@pytest.mark.parametrize(
    ("container_format", "codec", "rate", "options"),
    [
        ("webm", "libopus", 48_000, {}),
        ("webm", "libopus", 48_000, {"live": "1"}),  # what MediaRecorder makes: no duration, no cues
        ("matroska", "pcm_f32le", 48_000, {}),  # Chrome's audio/webm;codecs=pcm
        ("matroska", "flac", 44_100, {}),
        ("mp4", "aac", 44_100, {}),
        ("mp4", "aac", 48_000, {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),  # Safari's MediaRecorder
        ("mp4", "libopus", 48_000, {}),
        ("mp4", "libmp3lame", 44_100, {}),
        ("mov", "pcm_s16le", 44_100, {}),
        ("mov", "alac", 44_100, {}),
        ("ipod", "aac", 16_000, {}),  # M4A
        ("3gp", "aac", 22_050, {}),
        ("adts", "aac", 44_100, {}),
        ("mp3", "libmp3lame", 44_100, {}),
        ("mp3", "libmp3lame", 44_100, {"write_xing": "0", "id3v2_version": "4"}),
        ("ogg", "libopus", 48_000, {}),
        ("flac", "flac", 48_000, {}),
    ],
)
@pytest.mark.parametrize("stereo", [False, True])
def test_what_people_record_is_read(
    container_format: str, codec: str, rate: int, options: dict[str, str], stereo: bool
) -> None:
    sound = tone(1.5, rate)
    samples = read_sound(media_file(container_format, codec, [sound] * (1 + stereo), rate, **options), LONGEST_S)
    assert len(samples) / 16_000 == pytest.approx(1.5, abs=0.13)
    assert loudness(samples[4000:20_000]) == pytest.approx(loudness(sound), rel=0.05)
    assert pitch(samples) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(("container_format", "codec"), [("mp4", "aac"), ("webm", "libopus"), ("mov", "aac")])
def test_a_video_is_heard(container_format: str, codec: str) -> None:
    samples = read_sound(media_file(container_format, codec, [tone(1.5)], video=True), LONGEST_S)
    assert pitch(samples) == pytest.approx(440, abs=2)


def test_a_cut_off_recording_is_read_up_to_the_cut() -> None:
    for data in (media_file("webm", "libopus", [tone(4)], live="1"), media_file("adts", "aac", [tone(4)])):
        samples = read_sound(data[: len(data) // 2], LONGEST_S)
        assert 1.5 < len(samples) / 16_000 < 2.5


def test_damage_costs_what_is_damaged_or_is_told() -> None:
    good = media_file("webm", "libopus", [tone(3)], live="1"), media_file("mp4", "aac", [tone(3)])
    generator = np.random.default_rng(0)
    for data in good:
        for _ in range(60):
            bad = bytearray(data)
            for at in generator.integers(0, len(bad), generator.integers(1, 40)):
                bad[at] = generator.integers(256)
            with suppress(AudioError):
                assert len(read_sound(bytes(bad), LONGEST_S))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x1a",
        b"\x1a\x45\xdf\xa3",
        b"\x1a\x45\xdf\xa3" + b"\xff" * 4000,
        b"\x00\x00\x00\x1cftypisom" + b"\x00" * 4000,
        b"\xff\xf1" + b"\xaa" * 4000,
        b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + b"\x00" * 100,
        b"#!AMR\n" + b"\xff" * 1000,
        b"OggS" + b"\x00" * 4000,
        b"RIFF\x00\x00\x00\x00WAVE",
        b"RIFF\x00\x00\x00\x00WAVEdata\x00\x00\x00\x00",
        bytes(range(256)) * 16,
    ],
)
def test_what_is_no_sound_is_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(AudioError, match="send"):
        read_sound(data, LONGEST_S)


@pytest.mark.parametrize(
    "make",
    [
        lambda: media_file("webm", "libopus", [np.zeros(48_000 * 90, np.float32)], live="1"),
        lambda: media_file("mp4", "aac", [np.zeros(48_000 * 90, np.float32)]),
        lambda: wav(np.zeros(16_000 * 90), format="FLAC"),
        lambda: media_file("mp3", "libmp3lame", [np.zeros(48_000 * 90, np.float32)]),
    ],
)
def test_long_silence_in_few_bytes_stops_at_the_limit(make: Callable[[], bytes]) -> None:
    data = make()
    began = time.thread_time()
    with pytest.raises(SoundTooLong, match="at most"):
        read_sound(data, 1.0)
    assert time.thread_time() - began < 1.0


def test_a_head_that_lies_about_the_duration_changes_nothing() -> None:
    data = bytearray(media_file("mp4", "aac", [tone(1)]))
    head = data.index(b"mvhd")
    data[head + 20 : head + 24] = b"\x7f\xff\xff\xff"
    assert len(read_sound(bytes(data), LONGEST_S)) / 16_000 == pytest.approx(1, abs=0.1)


def box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", len(body) + 8) + name + body


def mp4_that_claims(samples: int, tracks: int = 1) -> bytes:
    """An MP4 file of some hundred bytes whose tables say that there are so many samples."""
    entry = box(b"sowt", bytes(6), b"\0\1", bytes(8), struct.pack(">HHHHI", 1, 8, 0, 0, 16_000 << 16))
    full = bytes(4)
    table = box(
        b"stbl",
        box(b"stsd", full, struct.pack(">I", 1), entry),
        box(b"stts", full, struct.pack(">III", 2, samples // 2, 2) + struct.pack(">II", samples // 2, 3)),
        box(b"stsc", full, struct.pack(">IIII", 1, 1, samples, 1)),
        box(b"stsz", full, struct.pack(">II", 1, samples)),
        box(b"stco", full, struct.pack(">II", 1, 48)),
    )
    head = box(b"mdhd", full, bytes(8), struct.pack(">II", 16_000, samples), bytes(4))
    handler = box(b"hdlr", full, bytes(4), b"soun", bytes(13))
    info = box(b"minf", box(b"smhd", full, bytes(4)), table)
    identity = box(b"tkhd", b"\0\0\0\7", bytes(8), struct.pack(">I", 1), bytes(68))
    track = box(b"trak", identity, box(b"mdia", head, handler, info))
    movie = box(b"mvhd", full, bytes(8), struct.pack(">II", 16_000, samples), bytes(80))
    return box(b"ftyp", b"isom", bytes(4), b"isom") + box(b"mdat", bytes(64)) + box(b"moov", movie, track * tracks)


@pytest.mark.parametrize(("samples", "tracks"), [(1 << 27, 1), (1 << 20, 500), (1 << 27, 500)])
def test_claims_of_a_head_cost_neither_time_nor_memory(samples: int, tracks: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.thread_time()
    with pytest.raises(AudioError):
        read_sound(mp4_that_claims(samples, tracks), 1.0)
    assert time.thread_time() - began < 8
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10  # KB


def test_a_file_may_take_so_much_processor_time_and_no_more() -> None:
    clock = FakeClock()
    limit = WorkLimit(longest_s=100, clock=clock)
    clock.now += 9.9
    limit.check()
    clock.now += 0.2
    with pytest.raises(AudioError, match="too long to decode"):
        limit.check()


def test_absurd_rates_and_channels_are_refused() -> None:
    with pytest.raises(AudioError, match="sample rate of 800"):
        read_sound(wav(tone(1, 800), 800), LONGEST_S)
    with pytest.raises(AudioError, match=f"1 to {CHANNELS}"):
        read_sound(wav(np.zeros((100, 200))), LONGEST_S)
    with pytest.raises(AudioError, match="sample rate of 1000000 Hz"):
        read_sound(wav(tone(1), 1_000_000), LONGEST_S)


def unfinished(data: bytes, riff: int, length: int) -> bytes:
    """A WAV whose recorder never returned to its head."""
    at = data.index(b"data") + 4
    return data[:4] + struct.pack("<I", riff) + data[8:at] + struct.pack("<I", length) + data[at + 4 :]


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000])
@pytest.mark.parametrize("riff", [0, 0xFFFFFFFF, 36])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT", "PCM_U8"])
def test_a_wav_without_a_length_is_read_to_its_end(length: int, riff: int, subtype: str) -> None:
    data = unfinished(wav(tone(1, 16_000), subtype=subtype), riff, length)
    assert len(read_sound(data, LONGEST_S)) == pytest.approx(16_000, abs=2)


def test_silence_of_a_streaming_recorder_is_silence_and_no_chunks() -> None:
    data = unfinished(wav(np.zeros(16_000)), 0, 0)
    assert len(read_sound(data, LONGEST_S)) == 16_000


def test_an_empty_wav_with_something_behind_it_stays_empty() -> None:
    data = wav(np.zeros(0)) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    with pytest.raises(AudioError, match="no samples"):
        read_sound(data, LONGEST_S)


@pytest.mark.parametrize("second", [-1.0, -0.9, 1.0, 0.0, 0.5, -0.1])
def test_opposite_channels_do_not_cancel(second: float) -> None:
    sound = tone(2, 16_000)
    heard = read_sound(wav(np.stack([sound, second * sound], 1)), LONGEST_S)
    assert loudness(heard) > 0.35 * loudness(sound)
    quiet_first = read_sound(wav(np.stack([second * sound, sound], 1)), LONGEST_S)
    assert loudness(quiet_first) > 0.35 * loudness(sound)


def test_opposite_channels_with_an_offset_after_a_silent_start() -> None:
    sound = np.concatenate([np.zeros(16_000 * 20, np.float32), tone(2, 16_000)])
    heard = read_sound(wav(np.stack([sound + 0.2, -sound + 0.2], 1)), LONGEST_S)
    assert np.std(heard[-30_000:]) > 0.9 * np.std(sound[-30_000:])


def test_opposite_channels_of_a_browsers_recording() -> None:
    heard = read_sound(media_file("webm", "libopus", [tone(2), -tone(2)], live="1"), LONGEST_S)
    assert loudness(heard) > 0.5 * loudness(tone(2))


def test_a_rate_that_changes_in_the_middle() -> None:
    recording = MonoRecording(LONGEST_S)
    for rate in (48_000, 16_000, 44_100):
        recording.add(tone(1, rate)[:, None], rate)
    samples = recording.finish()
    assert len(samples) == pytest.approx(48_000, abs=20)
    assert pitch(samples) == pytest.approx(440, abs=1)


def test_each_format_has_one_reader() -> None:
    assert media_format(wav(tone(1))) is None
    assert media_format(media_file("mp3", "libmp3lame", [tone(1)])) is None
    assert media_format(media_file("ogg", "libopus", [tone(1)])) is None
    assert media_format(media_file("mp4", "aac", [tone(1)])) == "mov"


@pytest.mark.parametrize(("name", "kind"), [("speech.webm", "audio/webm"), ("blob", "application/octet-stream")])
async def test_a_browsers_recording_is_taken(name: str, kind: str) -> None:
    data = media_file("webm", "libopus", [tone(1)], live="1")
    async with running(ScriptedGenerator()) as server, httpx.AsyncClient(base_url=server.base) as http:
        answer = await http.post("/v1/audio/transcriptions", data={"model": "m"}, files={"file": (name, data, kind)})
        assert answer.status_code == 200, answer.text
        assert answer.json()["usage"]["seconds"] == pytest.approx(1, abs=0.1)


async def test_so_many_files_are_read_at_once_and_no_more() -> None:
    reading = [asyncio.ensure_future(read_sound_file(wav(tone(1)), LONGEST_S)) for _ in range(16)]
    await asyncio.sleep(0)
    with pytest.raises(EngineFull, match="try again"):
        await read_sound_file(wav(tone(1)), LONGEST_S)
    assert all(len(samples) for samples in await asyncio.gather(*reading))
    assert len(await read_sound_file(wav(tone(1)), LONGEST_S))
