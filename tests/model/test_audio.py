"""Sound of any rate, width and channel count comes in and goes out whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import whisper
from hypothesis import given
from hypothesis import strategies as st

from model.audio import (
    WINDOW_STATES,
    AudioError,
    float_to_pcm16,
    log_mel,
    pcm16_to_float,
    read_wav,
    resample,
    states_of,
    to_mono,
    write_wav,
)


def tone(rate: int, seconds: float = 1.0, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


@given(st.lists(st.integers(-32768, 32767)))
def test_pcm16_survives_the_way_to_float_and_back(values: list[int]) -> None:
    pcm = np.array(values, "<i2").tobytes()
    assert float_to_pcm16(pcm16_to_float(pcm)) == pcm


def test_what_is_too_loud_is_clipped_not_wrapped() -> None:
    assert np.frombuffer(float_to_pcm16(np.array([1.5, -1.5, 1.0])), "<i2").tolist() == [32767, -32768, 32767]


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(AudioError, match="3 bytes"):
        pcm16_to_float(b"abc")


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_wav_is_heard_as_the_same_tone(tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.repeat(tone(rate)[:, None], channels, 1), rate)
    sound = read_wav(path)
    assert sound.sample_rate == 16_000
    assert sound.seconds == pytest.approx(1.0, abs=0.001)
    middle = slice(2000, 14000)
    assert np.abs(sound.samples - tone(16_000)[: len(sound.samples)])[middle].max() < 2e-3


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_any_sample_width_is_read(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(16_000), 16_000, subtype=subtype)
    assert np.abs(read_wav(path).samples - tone(16_000)).max() < 0.01


def test_channels_are_averaged() -> None:
    assert to_mono(np.array([[1.0, 0.0], [0.5, -0.5]])).tolist() == [0.5, 0.0]


def test_resampling_loses_what_the_new_rate_cannot_hold() -> None:
    assert np.abs(resample(tone(48_000, hertz=15_000), 48_000)[1000:-1000]).max() < 1e-3


def test_written_sound_is_read_back(tmp_path: Path) -> None:
    write_wav(tmp_path / "answer.wav", tone(24_000), 24_000)
    sound = read_wav(tmp_path / "answer.wav", 24_000)
    assert soundfile.info(tmp_path / "answer.wav").channels == 1
    assert np.abs(sound.samples - tone(24_000)).max() < 1e-4


def test_bad_files_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file"):
        read_wav(tmp_path / "gone.wav")
    (tmp_path / "text.wav").write_text("This is no sound.")
    with pytest.raises(AudioError, match="not a readable sound file"):
        read_wav(tmp_path / "text.wav")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    with pytest.raises(AudioError, match="no samples"):
        read_wav(tmp_path / "empty.wav")
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN"):
        read_wav(tmp_path / "nan.wav")
    with pytest.raises(AudioError, match="does not exist"):
        write_wav(tmp_path / "no" / "answer.wav", tone(24_000), 24_000)


@pytest.mark.parametrize("seconds", [0.3, 4.0, 31.0])
def test_the_full_window_is_what_whisper_computes(seconds: float) -> None:
    sound = tone(16_000, seconds)
    wanted = whisper.log_mel_spectrogram(whisper.pad_or_trim(sound))
    assert torch.equal(log_mel(sound), wanted)


def test_a_shorter_window_begins_as_the_full_one() -> None:
    sound = tone(16_000, 2.0)
    states = states_of(len(sound)) + 50
    assert states == 150
    short = log_mel(sound, states)
    assert short.shape == (80, 300)
    assert torch.allclose(short[:, :299], log_mel(sound, WINDOW_STATES)[:, :299])
