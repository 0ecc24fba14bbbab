"""Questions spoken in synthetic voices, clean or noisy: what the ears are measured on.

Three families that have little in common: hibari (a neural voice), flite (recorded diphones and units) and espeak-ng
(formants). flite and espeak-ng are programs (Debian: `apt install flite espeak-ng`); hibari is a Python package.
"""

from __future__ import annotations

import functools
import io
import shutil
import subprocess

import numpy as np
import soundfile

from model.audio import SAMPLE_RATE, resample, to_mono

FLITE_VOICES = ("slt", "rms", "awb", "kal16")
ESPEAK_VOICES = ("en-us", "en-gb", "en-us+f3", "en-gb-scotland+m3", "en-us+m7", "en-gb+f2")
HIBARI_SPEEDS = (1.0, 1.15, 0.9)
FAMILIES = ("hibari", "flite", "espeak-ng")
UNHEARD = (
    "flite rms",
    "festival kal_diphone",
    "festival ked_diphone",
    *(f"espeak-ng {voice}" for voice in ESPEAK_VOICES),
    *(f"espeak-ng {voice}" for voice in ("en-gb-scotland+m5", "en-us+f4", "en-gb+klatt2", "en-us+Mario", "en-us+max")),
)
"""Voices that no ear adapter is trained on, to measure it by: `speak_as`."""

TEXTS = (
    "What is the capital of France?",
    "How far away is the moon?",
    "Can you tell me a short joke?",
    "What should I cook for dinner tonight?",
    "Why is the sky blue during the day?",
    "My name is Ada, and I live near the sea.",
    "Do you remember what I told you about my sister?",
    "Please explain how a bicycle stays upright.",
    "Which planet has the largest rings?",
    "I feel a little tired this morning.",
    "How do I get a coffee stain out of a white shirt?",
    "What's the difference between a lake and a pond?",
    "Is it a good idea to learn the piano as an adult?",
    "Tell me something interesting about whales.",
    "Who wrote the story of the little mermaid?",
    "Could you say that again more slowly, please?",
    "What is the best way to remember a long list of words?",
    "The train was late again, so I missed the beginning of the film.",
    "How many legs does a spider have?",
    "Give me three ideas for a birthday present.",
    "Why do cats purr when they are happy?",
    "What does a heart surgeon do all day?",
    "Thank you, that was very helpful.",
    "Where can I see the northern lights in winter?",
    "How long should I boil an egg?",
    "What makes bread rise in the oven?",
    "I would like to visit Japan next spring, but I don't speak the language.",
    "Can plants grow without any sunlight?",
    "Who are you?",
    "Stop.",
    "Yes, please.",
    "No, not that one.",
    "What time is it in London right now?",
    "How do airplanes stay in the air?",
    "Write me a poem about the rain on an old roof.",
    "Is there water on other planets?",
    "What is your favorite kind of music, and why do you like it?",
    "How can I fall asleep faster when I am worried about work?",
    "Tell me how to say good morning in Spanish.",
    "What happened to the dinosaurs?",
    "Should I take an umbrella with me today?",
    "How do you make a cup of green tea taste less bitter?",
    "My grandfather planted this apple tree when my mother was born.",
    "Can you help me plan a quiet weekend in the mountains?",
    "What is a good book for a ten year old who loves horses?",
    "Describe the smell of the ocean to someone who has never been there.",
    "We were walking along the river when it suddenly began to snow, and nobody had brought a coat.",
    "If I save twenty dollars every week, how much money will I have at the end of the year?",
)


@functools.lru_cache(maxsize=1)
def _hibari():  # type: ignore[no-untyped-def]
    from hibari import Hibari

    return Hibari(threads=1)


def run_program(command: list[str], text: str | None = None) -> np.ndarray:
    """The sound that a speech program makes of its input and writes as WAV to its standard output, at 16 kHz."""
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(f"{command[0]} is not installed; run: apt install {command[0]}")
    wav = subprocess.run(command, check=True, capture_output=True, input=None if text is None else text.encode()).stdout
    # streamed WAV headers promise more bytes than follow: read the raw samples after the header
    with soundfile.SoundFile(io.BytesIO(wav)) as header:
        rate = header.samplerate
    samples = np.frombuffer(wav[44 : 44 + (len(wav) - 44) // 2 * 2], "<i2").astype(np.float32) / 32768
    return resample(samples, rate)


def speak(family: str, text: str, variant: int = 0) -> np.ndarray:
    """The text in one of a family's voices, (samples,) float32 at 16 kHz, peak 0.5, a little silence around it."""
    if family == "hibari":
        speed = HIBARI_SPEEDS[variant % len(HIBARI_SPEEDS)]
        sound = resample(to_mono(_hibari()(text, seed=0, speed=speed)), 24_000)
    elif family == "flite":
        voice = FLITE_VOICES[variant % len(FLITE_VOICES)]
        sound = run_program(["flite", "-voice", voice, "-t", text, "-o", "/dev/stdout"])
    elif family == "espeak-ng":
        sound = run_program(["espeak-ng", "-v", ESPEAK_VOICES[variant % len(ESPEAK_VOICES)], "--stdout", text])
    else:
        raise ValueError(f"there is no voice family {family!r}; choose one of {', '.join(FAMILIES)}")
    return _framed(sound)


def speak_as(voice: str, text: str) -> np.ndarray:
    """The text in one voice, "engine voice" as in `UNHEARD`; as `speak` in all else."""
    engine, name = voice.split(" ", 1)
    if engine == "flite":
        return _framed(run_program(["flite", "-voice", name, "-t", text, "-o", "/dev/stdout"]))
    if engine == "espeak-ng":
        return _framed(run_program(["espeak-ng", "-v", name, "--stdout", text]))
    if engine == "festival":
        return _framed(run_program(["text2wave", "-eval", f"(voice_{name})"], text))
    raise ValueError(f"there is no engine {engine!r}; choose flite, espeak-ng or festival")


def _framed(sound: np.ndarray) -> np.ndarray:
    sound = sound / max(1e-6, float(np.abs(sound).max())) * 0.5
    return np.pad(sound, (SAMPLE_RATE // 5, SAMPLE_RATE * 3 // 10)).astype(np.float32)


def coloured_noise(samples: int, rng: np.random.Generator, slope: float = 1.0) -> np.ndarray:
    """Noise of unit deviation whose power falls with frequency to the power `slope`: 0 white, 1 pink as a room's."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum /= np.maximum(1, np.arange(len(spectrum))) ** (slope / 2)
    noise = np.fft.irfft(spectrum, samples)
    return (noise / noise.std()).astype(np.float32)


def add_noise(sound: np.ndarray, snr_db: float, seed: int) -> np.ndarray:
    """The sound in pink noise, `snr_db` below its speech (the louder half of its 20 ms pieces)."""
    pieces = sound[: len(sound) // 320 * 320].reshape(-1, 320)
    power = np.square(pieces).mean(1)
    speech = float(power[power >= np.median(power)].mean())
    noise = coloured_noise(len(sound), np.random.default_rng(seed))
    return (sound + noise * np.sqrt(speech / 10 ** (snr_db / 10))).astype(np.float32)
