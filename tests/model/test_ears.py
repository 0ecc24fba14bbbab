"""The ears hear what is said, as Whisper does, and invent nothing when nothing is said."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from whisper.model import ModelDimensions, Whisper
from whisper.normalizers import EnglishTextNormalizer

from model.audio import SAMPLE_RATE, WINDOW_STATES, AudioError, log_mel, read_wav
from model.ears import (
    NOTHING,
    Ears,
    Hearing,
    HearingOptions,
    StateEncoder,
    WhisperWords,
    whisper_base,
)
from model.published_ears import PublishedEars
from model.transcriber import BeamDecoder, Transcriber, Transcript
from training.voices import add_noise, speak

QUESTIONS = (
    "What is the capital of France?",
    "Can you tell me a short joke?",
    "My grandfather planted this apple tree when my mother was born.",
    "Stop.",
)
RECORDINGS = Path(__file__).parents[3] / "shared" / "audio"


@pytest.fixture(scope="module")
def base() -> Whisper:
    return whisper_base()


@pytest.fixture(scope="module")
def mel() -> torch.Tensor:
    """The log-mel of a noisy question over the full window."""
    return log_mel(add_noise(speak("hibari", QUESTIONS[1], 1), 5.0, seed=2))


@pytest.fixture(scope="module")
def full_states(base: Whisper, mel: torch.Tensor) -> torch.Tensor:
    """What openai-whisper's encoder makes of it."""
    with torch.inference_mode():
        return base.encoder(mel[None])[0]


@pytest.fixture(scope="module")
def ears() -> Ears:
    return Ears.open()


@functools.cache
def normaliser() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()


def words(text: str) -> str:
    return str(normaliser()(text))


def silence(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(3 * SAMPLE_RATE) * 1e-5


def room(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(3 * SAMPLE_RATE) * 0.01


def breath(rng: np.random.Generator) -> np.ndarray:
    """Two breaths: noise around 1 kHz that swells and fades."""
    sound = rng.standard_normal(3 * SAMPLE_RATE) * 1e-4
    frequencies = np.fft.rfftfreq(SAMPLE_RATE, 1 / SAMPLE_RATE)
    shape = np.exp(-(((frequencies - rng.uniform(800, 1500)) / 900) ** 2))
    swell = np.fft.irfft(np.fft.rfft(rng.standard_normal(SAMPLE_RATE)) * shape, SAMPLE_RATE)
    swell *= np.hanning(SAMPLE_RATE) / np.abs(swell).max()
    for begin in (0.3, 1.7):
        at = int(begin * SAMPLE_RATE)
        sound[at : at + SAMPLE_RATE] += swell * rng.uniform(0.05, 0.2)
    return sound


def keyboard(rng: np.random.Generator) -> np.ndarray:
    """Key strokes: short clicks at a typist's pace."""
    sound = rng.standard_normal(3 * SAMPLE_RATE) * 1e-4
    at = 0.1
    while at < 2.8:
        click = rng.standard_normal(1200) * np.exp(-np.arange(1200) / rng.uniform(40, 160))
        sound[int(at * SAMPLE_RATE) :][:1200] += click * rng.uniform(0.05, 0.4)
        at += rng.uniform(0.06, 0.35)
    return sound


def hum(rng: np.random.Generator) -> np.ndarray:
    """Mains hum with its harmonics."""
    time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    return sum(0.1 / k * np.sin(2 * np.pi * 50 * k * time + rng.uniform(0, 6)) for k in range(1, 8))


def music(rng: np.random.Generator) -> np.ndarray:
    """Plucked chords."""
    time = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    sound = np.zeros_like(time)
    for begin in np.arange(0, 4, 0.5):
        for note in rng.choice([220, 246.9, 261.6, 293.7, 329.6, 392, 440, 523], 3):
            since = np.maximum(0, time - begin)
            sound += 0.08 * np.sin(2 * np.pi * note * since) * np.exp(-3 * since)
    return sound


def cough(rng: np.random.Generator) -> np.ndarray:
    sound = rng.standard_normal(2 * SAMPLE_RATE) * 1e-4
    burst = np.minimum(1, np.arange(4000) / 100) * np.exp(-np.arange(4000) / 900)
    sound[8000:12000] += 0.3 * rng.standard_normal(4000) * burst
    return sound


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("make", [silence, room, breath, keyboard, hum, music, cough])
def test_nothing_is_invented(ears: Ears, make: Callable[[np.random.Generator], np.ndarray], seed: int) -> None:
    hearing = ears.hear(make(np.random.default_rng(seed)).astype(np.float32))
    assert hearing.no_speech, f"heard {hearing.text!r}"
    assert hearing.text == ""


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("text", QUESTIONS)
def test_hears_what_is_said(ears: Ears, text: str, noisy: bool) -> None:
    sound = speak("hibari", text)
    hearing = ears.hear(add_noise(sound, 10.0, seed=1) if noisy else sound)
    assert words(hearing.text) == words(text)
    assert not hearing.no_speech
    assert not hearing.doubtful


def test_speech_is_found_among_noise(ears: Ears) -> None:
    typed = keyboard(np.random.default_rng(5)).astype(np.float32) * 0.3
    sound = np.concatenate([typed, speak("hibari", QUESTIONS[0])])
    assert "capital of france" in words(ears.hear(sound).text)


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not part of the repository")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("what_is_your_name", "What is your name?"),
        ("how_are_you_feeling_today", "How are you feeling today?"),
        (
            "jfk",
            "And so my fellow Americans, ask not what your country can do for you, "
            "ask what you can do for your country.",
        ),
    ],
)
def test_real_people_are_heard(ears: Ears, name: str, text: str) -> None:
    assert words(ears.hear(read_wav(RECORDINGS / f"{name}.wav").samples).text) == words(text)


@pytest.mark.parametrize("beams", [1, 5])
def test_the_search_is_whispers_own(base: Whisper, full_states: torch.Tensor, beams: int) -> None:
    """Token for token what openai-whisper decodes from the same states, with its probabilities."""
    options = whisper.DecodingOptions(
        language="en", beam_size=beams if beams > 1 else None, fp16=False, without_timestamps=True
    )
    with torch.inference_mode():
        wanted = whisper.decode(base, full_states, options)
    said = Transcriber(BeamDecoder(base.decoder), beams=beams)(full_states)
    assert list(said.tokens) == wanted.tokens
    assert said.text == wanted.text
    assert said.average_log_probability == pytest.approx(wanted.avg_logprob, abs=1e-4)
    assert said.no_speech_probability == pytest.approx(wanted.no_speech_prob, abs=1e-4)
    assert said.complete


def test_the_full_window_is_whispers_own(base: Whisper, mel: torch.Tensor, full_states: torch.Tensor) -> None:
    assert torch.allclose(StateEncoder(base.encoder)(mel), full_states, atol=1e-4)


class ScriptedAdapter:
    """Says what it is told to, and remembers how long the states were."""

    def __init__(self, *hearings: Hearing) -> None:
        self.hearings = list(hearings)
        self.states: list[int] = []

    def hear(self, states: torch.Tensor, seconds: float) -> Hearing:
        self.states.append(len(states))
        return self.hearings.pop(0)


def test_doubtful_words_are_heard_again_over_the_full_window(ears: Ears) -> None:
    sound = speak("hibari", QUESTIONS[0])
    adapter = ScriptedAdapter(Hearing("the the the", False, doubtful=True), Hearing("What is it?", False))
    assert Ears(ears.encoder, adapter).hear(sound).text == "What is it?"
    assert adapter.states[0] < adapter.states[1] == WINDOW_STATES


def test_the_full_window_can_be_asked_for(ears: Ears) -> None:
    adapter = ScriptedAdapter(Hearing("Yes.", False))
    options = HearingOptions(tail_seconds=None)
    Ears(ears.encoder, adapter, options).hear(speak("hibari", "Yes."))
    assert adapter.states == [WINDOW_STATES]


def test_judgement_of_transcripts(ears: Ears) -> None:
    assert isinstance(ears.adapter, WhisperWords)
    sure = Transcript("Hello there.", (1, 2), -0.1, 0.05, 0.8, True)
    judge = ears.adapter.judge
    assert judge(sure) == Hearing("Hello there.", False, False, -0.1, 0.05)
    assert judge(replace(sure, average_log_probability=-0.9, no_speech_probability=0.8)).no_speech
    assert not judge(replace(sure, no_speech_probability=0.8)).no_speech, "sure words outweigh it"
    assert judge(replace(sure, average_log_probability=-1.2)).doubtful
    assert judge(replace(sure, compression_ratio=3.0)).doubtful
    assert judge(replace(sure, complete=False)).doubtful
    assert judge(replace(sure, compression_ratio=3.0, no_speech_probability=0.8)).no_speech
    assert judge(replace(sure, text=". . .")).no_speech


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.zeros((100, 2), np.float32), "shape"),
        (np.zeros(100, np.int16), "int16"),
        (np.full(1000, np.nan, np.float32), "NaN"),
        (np.zeros(31 * SAMPLE_RATE, np.float32), r"31\.0 s"),
    ],
)
def test_bad_audio_is_refused_with_a_reason(ears: Ears, audio: np.ndarray, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        ears.hear(audio)


def test_digital_silence_costs_nothing(ears: Ears) -> None:
    adapter = ScriptedAdapter()
    assert Ears(ears.encoder, adapter).hear(np.zeros(SAMPLE_RATE, np.float32)) == NOTHING
    assert adapter.states == []


@pytest.mark.parametrize(("seconds", "frames"), [(0.4, 21), (1.0, 51), (30.0, 1500)])
def test_published_ears_keep_the_states_of_what_was_said(seconds: float, frames: int) -> None:
    torch.manual_seed(0)
    encoder = Whisper(ModelDimensions(80, 1500, 64, 1, 1, 100, 8, 64, 1, 1)).encoder.eval()
    sound = np.random.default_rng(0).standard_normal(int(seconds * SAMPLE_RATE)).astype(np.float32) * 0.1
    features = PublishedEars(StateEncoder(encoder), exact=True).features(sound)
    assert features.shape == (1, frames, 64)
    with torch.inference_mode():
        wanted = encoder(whisper.log_mel_spectrogram(whisper.pad_or_trim(sound))[None])
    assert torch.allclose(features, wanted[:, :frames], atol=1e-5)


@pytest.mark.parametrize("noise_db", [None, 10.0])
def test_a_silent_window_stands_in_for_the_silence_after_the_words(base: Whisper, noise_db: float | None) -> None:
    """Whisper's own weights: the states of what was said stay what the whole window gives, nearer than any cut does."""
    sound = speak("hibari", QUESTIONS[0], 1)
    if noise_db is not None:
        sound = add_noise(sound, noise_db, seed=2)
    encoder = StateEncoder(base.encoder)
    wanted = PublishedEars(encoder, exact=True).features(sound)[0]
    found = PublishedEars(encoder).features(sound)[0]
    assert found.shape == wanted.shape
    with torch.inference_mode():
        cut = encoder(log_mel(sound, len(wanted) + 100))[: len(wanted)]
    difference, by_cutting = (float((states - wanted).norm() / wanted.norm()) for states in (found, cut))
    assert difference < 0.2
    assert difference < 0.7 * by_cutting
    assert float(torch.nn.functional.cosine_similarity(found, wanted, dim=-1).mean()) > 0.97


def test_a_silent_window_is_the_whole_window_where_sound_fills_it() -> None:
    torch.manual_seed(0)
    encoder = StateEncoder(Whisper(ModelDimensions(80, 1500, 64, 1, 1, 100, 8, 64, 1, 1)).encoder.eval())
    sound = np.random.default_rng(0).standard_normal(30 * SAMPLE_RATE).astype(np.float32) * 0.1
    exact, found = (PublishedEars(encoder, exact=exact).features(sound) for exact in (True, False))
    assert torch.allclose(found, exact, atol=1e-4)
