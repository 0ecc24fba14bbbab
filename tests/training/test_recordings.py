"""Recordings of another voice: phonemes are found where they are, and wrong texts are noticed."""

from __future__ import annotations

import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
from hibari import dsp

from model.audio import write_wav
from model.timeline import DURATION_UNIT_SAMPLES
from training.data import recordings
from training.data.recordings import Aligner
from training.data.shards import read_shard

TEXT = "My grandfather planted this apple tree when my mother was born."


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner()


def another_voice(aligner: Aligner, text: str, speed: float) -> tuple[np.ndarray, np.ndarray]:
    """Read at another speed and four semitones higher: (samples,) at 24 kHz, and when each phoneme truly ends."""
    speaker = aligner.speaker
    ids = speaker.hibari.ids(speaker.hibari.phonemize(text)[0])
    *spectra, lengths = speaker.session.run(
        None, {"ids": np.asarray([ids], np.int64), "speed": np.array([speed], np.float32)}
    )
    sound = dsp.synth(*(s[0] for s in spectra), speaker.rng).astype(np.float32)
    higher = librosa.effects.pitch_shift(sound, sr=24_000, n_steps=4)
    return higher, np.cumsum(lengths.reshape(-1)) * DURATION_UNIT_SAMPLES


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_phonemes_are_found_in_another_voice(aligner: Aligner, speed: float) -> None:
    reading = aligner.speaker(TEXT)
    assert reading is not None
    sound, truth = another_voice(aligner, TEXT, speed)
    moments = np.cumsum(reading.durations) * DURATION_UNIT_SAMPLES
    found, mismatch = aligner.warp(reading.audio / np.float32(32768), sound, moments)
    apart_ms = np.abs(found - truth) / 24
    assert np.median(apart_ms) < 15
    assert np.quantile(apart_ms, 0.9) < 40
    assert mismatch < recordings.MISMATCH

    aligned = aligner.align(sound, reading)
    assert aligned is not None
    assert aligned.phonemes is reading.phonemes
    assert aligned.durations.sum() * DURATION_UNIT_SAMPLES == len(aligned.audio)
    assert aligned.durations[0] < reading.durations[0]  # the silence before the first word is cut


def test_pauses_are_shortened(aligner: Aligner) -> None:
    reading = aligner.speaker("Yes, please. I think so.")
    assert reading is not None
    sounds = [another_voice(aligner, text, 1.0)[0] for text in ("Yes, please.", "I think so.")]
    slow = np.concatenate([sounds[0], np.zeros(3 * 24_000, np.float32), sounds[1]])
    aligned = aligner.align(slow, reading)
    assert aligned is not None
    assert aligned.durations.max() <= aligner.longest
    assert len(aligned.audio) < len(slow) - 2 * 24_000


def test_folders_become_shards_and_wrong_texts_are_left_out(
    aligner: Aligner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {"a": TEXT, "b": "What makes bread rise in the oven?", "c": "How far away is the moon?"}
    for name, text in texts.items():
        write_wav(tmp_path / f"{name}.wav", another_voice(aligner, text, 1.0)[0], 24_000)
        (tmp_path / f"{name}.txt").write_text(texts["b"] if name == "c" else text)
    monkeypatch.setattr(sys, "argv", ["recordings", str(tmp_path), str(tmp_path / "speech")])
    recordings.main()
    assert "c.wav: left out" in capsys.readouterr().out
    assert [r.text for r in read_shard(tmp_path / "speech" / "heldout-0.npz")] == [TEXT]
    assert [r.text for r in read_shard(tmp_path / "speech" / "train-0-0000.npz")] == [texts["b"]]
