"""How likely each 32 ms of a microphone hold a voice: Silero VAD 6 for any number of microphones at once.

The network is Silero's (https://github.com/snakers4/silero-vad, MIT; its weights come with the package `silero-vad`),
the sums are ours: a spectrum of four frames, four small convolutions, one LSTM step, one probability. All of it is
dense products whose rows overlap in memory, so a row of several microphones is a row like any other, and sixteen
microphones cost much less than sixteen times one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model.dense import dense, packed, row_places
from model.vectors import ANY_ORDER, compiled, exponential

WINDOW_SAMPLES = 512
"""32 ms at 16 kHz: what is judged at once."""
CONTEXT_SAMPLES = 64
"""Of the window before, seen again."""
_INPUT = CONTEXT_SAMPLES + WINDOW_SAMPLES
_HOP, _FRAME, _BINS, _FRAMES = 128, 256, 129, 4
_WIDTHS = (128, 64, 64, 128)
"""Of the four convolutions."""
_STATE = 128


class VoiceState:
    """One microphone's: 1.3 KB."""

    def __init__(self) -> None:
        self.state = np.zeros(2 * _STATE, np.float32)
        self.context = np.zeros(CONTEXT_SAMPLES, np.float32)


class VoiceActivity:
    """The network, shared by all microphones. Threads may judge different microphones at the same time."""

    def __init__(self) -> None:
        """Raises `RuntimeError` when the package with the weights is not installed."""
        spec = importlib.util.find_spec("silero_vad")
        if spec is None or spec.origin is None:
            raise RuntimeError("the package silero-vad is not installed; run: pip install --no-deps 'silero-vad>=6.2'")
        held = _initializers(Path(spec.origin).parent / "data" / "silero_vad_16k_op15.onnx")
        stft = held["model.stft.forward_basis_buffer"].reshape(2 * _BINS, _FRAME)
        layers = [packed(stft, np.zeros(len(stft), np.float32))]
        for number in range(4):
            name = f"model.encoder.{number}.reparam_conv"
            weight = held[f"{name}.weight"].swapaxes(1, 2)  # (outputs, 3 steps, inputs)
            layers.append(packed(weight.reshape(len(weight), -1), held[f"{name}.bias"]))
        lstm, last = "model.decoder.rnn", "model.decoder.decoder.2"
        gates = np.concatenate([held[f"{lstm}.weight_ih"], held[f"{lstm}.weight_hh"]], 1)
        layers.append(packed(gates, held[f"{lstm}.bias_ih"] + held[f"{lstm}.bias_hh"]))
        self._layers = tuple(layers)
        self._last = (held[f"{last}.weight"].reshape(-1), held[f"{last}.bias"])
        self.judge([VoiceState()], np.zeros((1, WINDOW_SAMPLES), np.float32))  # compiled before anybody waits

    def judge(self, microphones: Sequence[VoiceState], windows: np.ndarray) -> np.ndarray:
        """The next window of each microphone, (n, 512) float32 at 16 kHz → how likely it holds a voice, (n,), 0…1."""
        count = len(microphones)
        sound = np.empty((count, _INPUT + _FRAME // 4), np.float32)
        states = np.empty((count, 2 * _STATE), np.float32)
        for row, microphone in enumerate(microphones):
            sound[row, :CONTEXT_SAMPLES], states[row] = microphone.context, microphone.state
        sound[:, CONTEXT_SAMPLES:_INPUT] = windows
        for microphone, window in zip(microphones, windows, strict=True):
            microphone.context = window[-CONTEXT_SAMPLES:].copy()
        found: np.ndarray = _judge(sound, states, self._layers, *self._last)
        for microphone, state in zip(microphones, states, strict=True):
            microphone.state = state
        return found


def _initializers(path: Path) -> dict[str, np.ndarray]:
    """The float32 tensors of an ONNX file, by name. Its package would weigh more than all else here: the file is a
    protobuf whose few fields that matter are read directly (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto)."""
    model, graph, initializer, dims, name, raw = memoryview(path.read_bytes()), 7, 5, 1, 8, 9
    found = {}
    for part in (part for number, part in _fields(model) if number == graph):
        for tensor in (part for number, part in _fields(part) if number == initializer):
            fields = list(_fields(tensor))
            shape = [size for number, size in fields if number == dims]
            values = dict(fields)
            if raw in values:
                found[bytes(values[name]).decode()] = np.frombuffer(values[raw], np.float32).reshape(shape)
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """A protobuf message's fields: numbers as int, everything else as bytes."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or number()
            yield key >> 3, message[at : at + size]
            at += size


@compiled(fastmath=ANY_ORDER)
def _rectify(x):  # type: ignore[no-untyped-def]
    for k in range(len(x)):
        x[k] = max(x[k], np.float32(0))


@compiled(fastmath=ANY_ORDER)
def _judge(sound, states, layers, last, last_bias):  # type: ignore[no-untyped-def]
    """(n, 640) with room for the mirrored end, states (n, 256) → probabilities (n,); the states become the next."""
    stft, conv_1, conv_2, conv_3, conv_4, gates = layers
    count = len(sound)
    for one in range(count):  # mirrored without its last sample
        for k in range(_FRAME // 4):
            sound[one, _INPUT + k] = sound[one, _INPUT - 2 - k]
    wide = len(stft[1])
    spectrum = np.empty(count * _FRAMES * wide, np.float32)
    dense(
        sound.ravel(), row_places(count, _FRAMES, sound.shape[1], _HOP, 0), _FRAME, stft,
        spectrum, row_places(count, _FRAMES, _FRAMES * wide, wide, 0),
    )  # fmt: skip
    # each convolution sees a step before and one after, which are zero at the ends
    sizes = np.zeros((count, (_FRAMES + 2) * _BINS), np.float32)
    for one in range(count):
        for frame in range(_FRAMES):
            here = spectrum[(one * _FRAMES + frame) * wide : (one * _FRAMES + frame + 1) * wide]
            real, imaginary = here[:_BINS], here[_BINS : 2 * _BINS]
            size = sizes[one, (frame + 1) * _BINS : (frame + 2) * _BINS]
            for k in range(_BINS):
                size[k] = np.sqrt(real[k] * real[k] + imaginary[k] * imaginary[k])
    a, b, c, d = _WIDTHS
    one_by_one = np.zeros((count, 6 * a), np.float32)
    dense(
        sizes.ravel(), row_places(count, 4, 6 * _BINS, _BINS, 0), 3 * _BINS, conv_1,
        one_by_one.ravel(), row_places(count, 4, 6 * a, a, a),
    )  # fmt: skip
    _rectify(one_by_one.ravel())
    halved = np.zeros((count, 4 * b), np.float32)
    dense(
        one_by_one.ravel(),
        row_places(count, 2, 6 * a, 2 * a, 0),
        3 * a,
        conv_2,
        halved.ravel(),
        row_places(count, 2, 4 * b, b, b),
    )
    _rectify(halved.ravel())
    single = np.zeros((count, 3 * c), np.float32)
    dense(
        halved.ravel(),
        row_places(count, 1, 4 * b, 0, 0),
        3 * b,
        conv_3,
        single.ravel(),
        row_places(count, 1, 3 * c, 0, c),
    )
    _rectify(single.ravel())
    heard = np.empty((count, d + _STATE), np.float32)
    dense(
        single.ravel(),
        row_places(count, 1, 3 * c, 0, 0),
        3 * c,
        conv_4,
        heard.ravel(),
        row_places(count, 1, d + _STATE, 0, 0),
    )
    _rectify(heard.ravel())
    heard[:, d:] = states[:, :_STATE]
    moves = np.empty((count, 4 * _STATE), np.float32)
    dense(
        heard.ravel(),
        row_places(count, 1, d + _STATE, 0, 0),
        d + _STATE,
        gates,
        moves.ravel(),
        row_places(count, 1, 4 * _STATE, 0, 0),
    )
    found = np.empty(count, np.float32)
    for one in range(count):
        _sigmoid(moves[one, : 2 * _STATE])
        _tanh(moves[one, 2 * _STATE : 3 * _STATE])
        _sigmoid(moves[one, 3 * _STATE :])
        _remember(moves[one], states[one, _STATE:], states[one, :_STATE])
        total = np.zeros(1, np.float32)
        total[0] = last_bias[0]
        for k in range(_STATE):
            total[0] += last[k] * max(states[one, k], np.float32(0))
        _sigmoid(total)
        found[one] = total[0]
    return found


@compiled()
def _remember(moves, cells, shown):  # type: ignore[no-untyped-def]
    """The gates of an LSTM (taken, kept, new, shown) move its cells and what it shows of them."""
    taken, kept = moves[:_STATE], moves[_STATE : 2 * _STATE]
    new, gate = moves[2 * _STATE : 3 * _STATE], moves[3 * _STATE :]
    for k in range(_STATE):
        cells[k] = kept[k] * cells[k] + taken[k] * new[k]
        shown[k] = cells[k]
    _tanh(shown)
    for k in range(_STATE):
        shown[k] *= gate[k]


@compiled()
def _sigmoid(x):  # type: ignore[no-untyped-def]
    for k in range(len(x)):
        x[k] = exponential(-x[k])
    for k in range(len(x)):
        x[k] = np.float32(1) / (np.float32(1) + x[k])


@compiled()
def _tanh(x):  # type: ignore[no-untyped-def]
    for k in range(len(x)):
        x[k] = exponential(np.float32(-2) * x[k])
    for k in range(len(x)):
        x[k] = np.float32(2) / (np.float32(1) + x[k]) - np.float32(1)
