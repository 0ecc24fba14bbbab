"""The microphone's bytes, at any rate and in any pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.audio import AudioBuffer, MicrophoneDecoder, to_pcm16

RATES = [8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000]


def sine(rate: int, seconds: float = 1.0, hertz: float = 440.0) -> bytes:
    return to_pcm16(0.5 * np.sin(np.arange(round(rate * seconds)) * 2 * np.pi * hertz / rate).astype(np.float32))


def decode(rate: int, pieces: list[bytes]) -> np.ndarray:
    decoder = MicrophoneDecoder(rate)
    return np.concatenate([decoder.decode(piece) for piece in pieces] or [np.zeros(0, np.float32)])


@pytest.mark.parametrize("rate", RATES)
def test_every_rate_becomes_16_khz(rate: int) -> None:
    heard = decode(rate, [sine(rate)])
    assert heard.dtype == np.float32
    assert 16_000 - 1120 <= len(heard) <= 16_000
    middle = heard[4000:12_000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert abs(spectrum.argmax() * 16_000 / len(middle) - 440) < 3
    assert abs(np.abs(middle).max() - 0.5) < 0.01


@settings(deadline=None, max_examples=40)
@given(rate=st.sampled_from(RATES), data=st.data())
def test_pieces_of_any_length_join_to_the_whole(rate: int, data: st.DataObject) -> None:
    sound = sine(rate, 0.3)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sound)), max_size=30)))
    pieces = [sound[a:b] for a, b in zip([0, *cuts], [*cuts, len(sound)], strict=True)]
    whole, joined = decode(rate, [sound]), decode(rate, pieces)
    common = min(len(whole), len(joined))
    assert abs(len(whole) - len(joined)) <= 400  # soxr may hold back more or less at the end
    np.testing.assert_allclose(whole[:common], joined[:common], atol=1e-4)


def test_one_byte_at_a_time() -> None:
    sound = sine(16_000, 0.01)
    np.testing.assert_array_equal(decode(16_000, [bytes([b]) for b in sound]), decode(16_000, [sound]))


def test_pcm16_survives_the_round_trip() -> None:
    samples = np.array([-1.0, -0.5, 0.0, 0.25, 1.0, 3.0, -3.0], np.float32)
    decoded = decode(16_000, [to_pcm16(samples)])
    np.testing.assert_allclose(decoded, samples.clip(-1, 1), atol=1e-4)


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), max_size=30))
def test_the_buffer_gives_what_was_put_at_its_position(steps: list[tuple[int, int]]) -> None:
    buffer, everything = AudioBuffer(), np.zeros(0, np.float32)
    for count, kept in steps:
        piece = np.arange(len(everything), len(everything) + count, dtype=np.float32)
        everything = np.concatenate([everything, piece])
        buffer.append(piece)
        buffer.drop_before(buffer.end - kept)
        assert buffer.end == len(everything)
        begin = max(0, buffer.end - len(buffer))
        np.testing.assert_array_equal(buffer.slice(begin, buffer.end), everything[begin:])
        np.testing.assert_array_equal(buffer.slice(begin + 10, buffer.end + 10), everything[begin + 10 :])


def test_minutes_of_sound_pass_through_a_small_buffer() -> None:
    buffer = AudioBuffer()
    for _ in range(6000):
        buffer.append(np.zeros(320, np.float32))
        buffer.drop_before(buffer.end - 16_000)
    assert len(buffer) == 16_000
    assert buffer._data.nbytes <= 256 * 1024
