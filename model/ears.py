"""Hearing: sound in; encoder states, or what was said, out.

`Ears` are the embedded model's: Whisper base, its encoder run only over what was said and a tail of silence, then an
`EarAdapter` from states to words. `PublishedEars` are the published model's: Whisper small's encoder over the full
30 s window, of which `whisper_adapter` reads the states of what was said.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from whisper.model import AudioEncoder, ModelDimensions, Whisper

from model.audio import SAMPLE_RATE, SAMPLES_PER_STATE, WINDOW_SECONDS, WINDOW_STATES, AudioError, log_mel, states_of
from model.cancellation import give_up_if_unwanted
from model.packed import WeightFormat, quick_dtype
from model.transcriber import BeamDecoder, Transcriber, Transcript
from model.turn_end import Ending
from model.unset import weights_unset
from model.weights.wheels import WheelError
from model.weights.whisper_base import whisper_base_state_dict, whisper_base_table

WHISPER_BASE = ModelDimensions(80, WINDOW_STATES, 512, 8, 6, 51865, 448, 512, 8, 6)


@dataclass(frozen=True)
class Hearing:
    """What was heard of one utterance."""

    text: str
    """Empty when nothing was said."""
    no_speech: bool
    """The sound holds no words: nothing is to be answered."""
    doubtful: bool = False
    """The words are a guess: unlikely, repeating themselves, or without an end."""
    average_log_probability: float = 0.0
    no_speech_probability: float = 0.0
    draft: str | None = None
    """The words as they sounded, before they were read; None where nothing was drafted."""
    ending: Ending | None = field(default=None, compare=False)
    """How it ended, where there was a draft."""


NOTHING = Hearing("", no_speech=True, no_speech_probability=1.0)


class EarAdapter(Protocol):
    """From the encoder's states to what was said.

    Whisper's own decoder (`WhisperWords`) is the first of them; an adapter that is trained to read the states sooner
    takes its place by having this method.
    """

    def hear(self, states: Tensor, seconds: float) -> Hearing:
        """States (T, width), 20 ms each, of `seconds` of sound and of the silence after it."""
        ...


class QuickAdapter(EarAdapter, Protocol):
    """An adapter that is asked first."""

    def settle(self, doubted: Hearing, searched: Hearing) -> Hearing:
        """Of its own doubtful transcript and what a search found instead, the better one."""
        ...


@dataclass(frozen=True)
class HearingOptions:
    """How the ears of the embedded model listen. The thresholds guard against inventions and loops."""

    language: str = "en"
    """Whisper's code of the language that is spoken; the model behind the ears reads English."""
    beams: int = 5
    """Of the search for words; 1 is greedy."""
    tail_seconds: float | None = 6.0
    """Silence that the encoder sees after what was said; None: up to the full 30 s window.

    Less is quicker, but below 3 s the decoder begins to loop and to skip words. See `training.evaluate_ears`.
    """
    quick_tail_seconds: float = 1.0
    """As `tail_seconds`, for a quick adapter that does not wander."""
    quietest_dbfs: float = -60.0
    """Sound whose loudest 20 ms are below this holds no speech."""
    no_speech_threshold: float = 0.5
    """Above this probability of no speech, words that aren't likely are inventions."""
    likely_log_probability: float = -0.7
    """Average by token; words above it are heard whatever the probability of no speech."""
    least_log_probability: float = -1.0
    """Average by token; words below it are doubtful."""
    most_compression: float = 2.4
    """Compression ratio of the text; above it the words repeat themselves."""
    tokens_per_second: float = 8.0
    """Nobody speaks faster: more tokens are a loop."""


class StateEncoder(nn.Module):
    """openai-whisper's `AudioEncoder`, over any length up to its window, in a number format of choice."""

    def __init__(self, encoder: AudioEncoder, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        self.dtype = dtype
        for module in encoder.modules():
            if isinstance(module, (nn.Linear, nn.Conv1d)):  # norms stay float32, as the module computes them
                module.to(dtype)

    @property
    def device(self) -> torch.device:
        return self.encoder.conv1.weight.device

    def enter(self, mel: Tensor) -> Tensor:
        """Log-mel (80, 2 · T) → what the first block reads (1, T, width)."""
        x = mel[None].to(self.device, self.dtype)
        x = F.gelu(self.encoder.conv1(x))
        x = F.gelu(self.encoder.conv2(x)).transpose(1, 2)
        return (x + self.encoder.positional_embedding[: x.shape[1]]).to(self.dtype)

    @torch.inference_mode()
    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel (80, 2 · T) → states (T, width), 20 ms each. T = 1500 is what openai-whisper computes."""
        x = self.enter(mel)
        for block in self.encoder.blocks:
            give_up_if_unwanted()
            x = block(x)
        states: Tensor = self.encoder.ln_post(x)[0]
        return states


class WhisperWords:
    """`EarAdapter`: Whisper's own decoder, and a judgement of what it says."""

    def __init__(self, transcriber: Transcriber, options: HearingOptions) -> None:
        self.transcriber = transcriber
        self.options = options

    def hear(self, states: Tensor, seconds: float) -> Hearing:
        limit = 12 + round(self.options.tokens_per_second * seconds)
        return self.judge(self.transcriber(states, limit))

    def judge(self, said: Transcript, certain: bool = False) -> Hearing:
        """Words that are probably inventions are not heard at all; unlikely ones are doubtful.

        `certain`: something was said, whatever the probability of no speech.
        """
        options = self.options
        loops = not said.complete or said.compression_ratio > options.most_compression
        unlikely = said.average_log_probability < options.least_log_probability
        likely = said.average_log_probability > options.likely_log_probability and not loops
        nothing = said.no_speech_probability > options.no_speech_threshold and not likely and not certain
        wordless = not any(letter.isalnum() for letter in said.text)
        no_speech = nothing or wordless
        return Hearing(
            text="" if no_speech else said.text,
            no_speech=no_speech,
            doubtful=loops or unlikely,
            average_log_probability=said.average_log_probability,
            no_speech_probability=said.no_speech_probability,
        )


class Ears:
    """The embedded model's ears."""

    def __init__(self, encoder: StateEncoder, adapter: EarAdapter, options: HearingOptions | None = None) -> None:
        self.encoder = encoder
        self.adapter = adapter
        self.options = options or HearingOptions()
        self.quick: QuickAdapter | None = None
        """Is asked first where there is one; what it doubts, `adapter` hears."""

    @classmethod
    def open(
        cls,
        source: WhisperSource = "auto",
        options: HearingOptions | None = None,
        dtype: torch.dtype | None = None,
        exact: bool = False,
        device: torch.device | str = "cpu",
    ) -> Ears:
        """Whisper base from where `whisper_base` finds it.

        `dtype` None is the quickest that hears as well; `exact` keeps the decoder's weights in it, too.
        """
        options = options or HearingOptions()
        dtype = dtype or quick_dtype(device)
        whisper = whisper_base(source).to(device)
        blocks: WeightFormat = "plain"
        head: WeightFormat = "plain"
        if not exact and torch.device(device).type == "cpu":
            blocks, head = ("plain", "int8") if dtype == torch.bfloat16 else ("float16", "float16")
        # Whisper is published in float16, so nothing is lost: of a packed table rows are read from elsewhere
        table = None if head == "plain" else whisper_base_rows(source, whisper)
        decoder = BeamDecoder(whisper.decoder, dtype, blocks, head, table)
        words = Transcriber(decoder, options.language, options.beams)
        return cls(StateEncoder(whisper.encoder, dtype), WhisperWords(words, options), options)

    def hear(self, audio: np.ndarray) -> Hearing:
        """(samples,) float32 at 16 kHz, at most 30 s → what was said.

        The encoder runs over the sound and a tail of silence. When the words that come of it are doubtful, it
        runs again over the full window, as Whisper was trained. `AudioError` when this is no sound of that kind.
        """
        samples = check_audio(audio)
        if loudest_dbfs(samples) < self.options.quietest_dbfs:
            return NOTHING
        seconds = len(samples) / SAMPLE_RATE
        if self.quick is not None:
            encoded = self._encode(samples, self._window(len(samples), self.options.quick_tail_seconds))
            hearing = self.quick.hear(encoded, seconds)
            ending = None if hearing.draft is None else Ending.of(hearing.draft, encoded, samples)
            if hearing.doubtful:
                hearing = self.quick.settle(hearing, self._search(samples, seconds))
            return replace(hearing, ending=ending)
        return self._search(samples, seconds)

    def _search(self, samples: np.ndarray, seconds: float) -> Hearing:
        """What is heard without a draft."""
        states = self._window(len(samples), self.options.tail_seconds)
        hearing = self.adapter.hear(self._encode(samples, states), seconds)
        if hearing.doubtful and not hearing.no_speech and states < WINDOW_STATES:
            hearing = self.adapter.hear(self._encode(samples, WINDOW_STATES), seconds)
        return hearing

    def _window(self, samples: int, tail_seconds: float | None) -> int:
        if tail_seconds is None:
            return WINDOW_STATES
        return min(WINDOW_STATES, states_of(samples) + round(tail_seconds * SAMPLE_RATE / SAMPLES_PER_STATE))

    def _encode(self, samples: np.ndarray, states: int) -> Tensor:
        encoded: Tensor = self.encoder(log_mel(samples, states))
        return encoded


def check_audio(audio: np.ndarray) -> np.ndarray:
    """The samples, when they are what ears take; `AudioError` otherwise."""
    samples = np.asarray(audio)
    if samples.ndim != 1 or samples.dtype.kind != "f":
        raise AudioError(f"audio is {samples.dtype} of shape {samples.shape}, wanted float32 of shape (samples,)")
    if not len(samples):
        raise AudioError("audio holds no samples; give a recording that is not empty")
    if len(samples) > WINDOW_SECONDS * SAMPLE_RATE:
        seconds = len(samples) / SAMPLE_RATE
        raise AudioError(f"audio lasts {seconds:.1f} s, at most {WINDOW_SECONDS} s can be heard at once; cut it")
    if not np.isfinite(samples).all():
        raise AudioError("audio holds NaN or infinite samples; give finite ones within [-1, 1]")
    return np.ascontiguousarray(samples, np.float32)


def loudest_dbfs(samples: np.ndarray) -> float:
    """Level of the loudest 20 ms, in decibels below full scale."""
    pieces = np.pad(samples, (0, -len(samples) % SAMPLES_PER_STATE)).reshape(-1, SAMPLES_PER_STATE)
    power = float(np.square(pieces, dtype=np.float64).mean(1).max())
    return float(10 * np.log10(max(power, 1e-20)))


WhisperSource = Literal["auto", "wheel", "openai"]


def whisper_base(source: WhisperSource = "auto") -> Whisper:
    """Whisper base as openai-whisper's module, float32.

    `wheel`: from the pinned wheels of `requirements-weights.txt`. `openai`: what `whisper.load_model("base")`
    downloads and checks. `auto`: the wheels where they are installed, the download elsewhere. They are the same
    weights, the wheel's in float16 precision.
    """
    import whisper

    if source != "openai":
        try:
            state = whisper_base_state_dict()
        except WheelError:
            if source == "wheel":
                raise
        else:
            with weights_unset():
                model = Whisper(WHISPER_BASE)
            model.load_state_dict(state, assign=True)
            return model.eval()
    return whisper.load_model("base", device="cpu").eval()


def whisper_base_rows(source: WhisperSource, whisper: Whisper) -> Tensor:
    """The vocabulary's rows in float16, from the wheel's file where it is there."""
    if source != "openai":
        try:
            return whisper_base_table()
        except WheelError:
            pass
    return whisper.decoder.token_embedding.weight.detach().half()


def whisper_encoder(dimensions: ModelDimensions) -> AudioEncoder:
    """An encoder of this shape whose weights are still to be loaded (with `assign=True`), on the meta device."""
    d = dimensions
    with torch.device("meta"):
        return AudioEncoder(d.n_mels, d.n_audio_ctx, d.n_audio_state, d.n_audio_head, d.n_audio_layer)
