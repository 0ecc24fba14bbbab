"""Silero VAD by our own sums: what onnxruntime makes of the published file, alone and in company."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hibari import Hibari

from model.kernels.processor import host_features
from model.voice_activity import CONTEXT_SAMPLES, WINDOW_SAMPLES, VoiceActivity, VoiceState


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """(windows, 512): speech, resampled as badly as one likes, loud and faint, then noise, then nothing."""
    spoken = np.asarray(Hibari(threads=1)("Good evening. How far is it to the station?", seed=1), np.float32).reshape(
        -1
    )
    rng = np.random.default_rng(0)
    whole = np.concatenate(
        [spoken[::2] * 2, spoken * 0.1, rng.standard_normal(8000).astype(np.float32) * 0.1, np.zeros(4000, np.float32)]
    )
    return whole[: len(whole) // WINDOW_SAMPLES * WINDOW_SAMPLES].reshape(-1, WINDOW_SAMPLES)


@pytest.fixture(scope="module")
def published(sound: np.ndarray) -> np.ndarray:
    """What the file in the package says, run by onnxruntime."""
    spec = importlib.util.find_spec("silero_vad")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "data" / "silero_vad_16k_op15.onnx"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    state, context, found = np.zeros((2, 1, 128), np.float32), np.zeros(CONTEXT_SAMPLES, np.float32), []
    for window in sound:
        given = {"input": np.concatenate([context, window])[None], "state": state, "sr": np.array(16_000)}
        probability, state = session.run(None, given)
        found.append(float(probability[0, 0]))
        context = window[-CONTEXT_SAMPLES:]
    return np.array(found)


def test_probabilities_are_those_of_the_published_network(sound: np.ndarray, published: np.ndarray) -> None:
    silero, microphone = VoiceActivity(), VoiceState()
    found = [float(silero.judge([microphone], window[None])[0]) for window in sound]
    assert published.max() > 0.9
    assert published.min() < 0.05
    np.testing.assert_allclose(found, published, atol=1e-4)


@pytest.mark.parametrize("count", [2, 3, 8, 19])
def test_many_microphones_at_once_hear_what_each_hears_alone(
    sound: np.ndarray, published: np.ndarray, count: int
) -> None:
    silero, microphones = VoiceActivity(), [VoiceState() for _ in range(count)]
    found = []
    for number in range(40):  # each is three windows behind the one before
        places = [number - 3 * index for index in range(count) if number >= 3 * index]
        found.append(silero.judge(microphones[: len(places)], sound[places]))
    for index in range(count):
        own = [row[index] for row in found if len(row) > index]
        np.testing.assert_allclose(own, published[: len(own)], atol=1e-4)


def test_processors_with_fewer_registers_compute_the_same(
    tmp_path: Path, sound: np.ndarray, published: np.ndarray
) -> None:
    if not host_features().get("avx2"):
        pytest.skip("the older instructions are those of x86 processors")
    np.save(tmp_path / "sound.npy", sound[:40])
    program = (
        "import sys, numpy as np; from model.voice_activity import *; silero, state = VoiceActivity(), VoiceState(); "
        "sound = np.load(sys.argv[1] + '/sound.npy'); "
        "np.save(sys.argv[1] + '/found.npy', [silero.judge([state], window[None])[0] for window in sound])"
    )
    older = {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx2,+fma,+f16c,+avx",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    subprocess.run([sys.executable, "-c", program, tmp_path], env={**os.environ, **older}, check=True, timeout=300)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), published[:40], atol=1e-4)


def test_without_its_weights_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(RuntimeError, match="pip install"):
        VoiceActivity()
