"""The embedded model's speech: from the text that the body writes to SNAC tokens, in step with it.

The paper's TTS adapter (section 3.2, "text-instructed" speech) is a few decoder blocks after the language model that
read its text and predict the seven SNAC layers, each a step later than the one before. This one learns from tens of
hours, so it is shown where it is in the text:

* `Spelling` reads letters and predicts phonemes, word by word (CTC);
* `PhonemeEncoder` reads phonemes, with a bounded look-ahead, and predicts how long each lasts;
* `FrameEncoder` lays them on the time line: what is being said in each quarter of a frame;
* `SpeechDecoder`, decoder blocks with a sliding window, predicts the tokens from that and from the tokens before.

`SpeechPlanner` runs the first three for one answer while its text is still being written; every answer's decoder
steps are batched.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.attention import AttentionBlock, norm_rows
from model.convnext import ConvStack
from model.mouth import LAYER_BOOKS
from model.sampling import SamplingParams
from model.speech_planner import SpeechPlanner
from model.spelling import Spelling
from model.vocabulary import AUDIO_LAYERS, DELAY


@dataclass(frozen=True)
class TtsAdapterConfig:
    """Sizes. Phonemes are the voice's own symbols: 0 begins and ends a sentence, `space` parts two words."""

    phonemes: int = 178
    space: int = 16
    longest: int = 31
    """The longest duration, in units of 25 ms."""
    spelling_width: int = 192
    spelling_blocks: int = 6
    slots: int = 4
    """Places for phonemes per letter."""
    width: int = 256
    hidden: int = 768
    phoneme_blocks: int = 4
    frame_blocks: int = 3
    decoder_blocks: int = 4
    heads: int = 4
    window: int = 48
    """Decoder steps that attention looks back, 4 s."""
    codes: int = 1024
    code_dim: int = 8
    kernel: int = 7


class PhonemeEncoder(nn.Module):
    """Phonemes → states, and how long each phoneme lasts (classes of 25 ms)."""

    def __init__(self, config: TtsAdapterConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(config.phonemes, config.width)
        self.stack = ConvStack(config.phoneme_blocks, config.width, config.hidden, config.kernel)
        self.durations = nn.Linear(config.width, config.longest + 1)

    @property
    def reach(self) -> int:
        """Phonemes ahead that decide a phoneme's state."""
        return self.stack.reach

    def forward(self, phonemes: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(rows, n), (rows, n, 1) → states (rows, n, width), duration logits (rows, n, longest + 1)."""
        states = self.stack(self.table(phonemes), mask)
        return states, self.durations(states)


class FrameEncoder(nn.Module):
    """What is said in each quarter of a frame (21.3 ms) → one state a frame."""

    def __init__(self, config: TtsAdapterConfig) -> None:
        super().__init__()
        self.place = nn.Sequential(nn.Linear(6, 64), nn.GELU(), nn.Linear(64, config.width))
        self.enter = nn.Linear(3 * config.width, config.width)
        self.stack = ConvStack(config.frame_blocks, config.width, config.hidden, config.kernel)
        self.join = nn.Linear(4 * config.width, config.width)

    @property
    def reach(self) -> int:
        """Quarters ahead that decide a quarter's state."""
        return self.stack.reach

    def forward(self, neighbours: Tensor, features: Tensor, mask: Tensor) -> Tensor:
        """States of the phoneme before, at and after each quarter (rows, 4 · frames, 3 · width), `features`
        (rows, 4 · frames, 6) → (rows, frames, width)."""
        x = self.stack(self.enter(neighbours) + self.place(features), mask)
        frames: Tensor = self.join(x.unflatten(1, (-1, 4)).flatten(2))
        return frames


class SpeechCache:
    """Keys and values of the last `window` steps of every slot, a ring a layer: constant memory per answer."""

    def __init__(self, layers: int, slots: int, config: TtsAdapterConfig, like: Tensor) -> None:
        shape = (layers, slots, config.heads, config.window, config.width // config.heads)
        self.all_keys, self.all_values = like.new_zeros(shape), like.new_zeros(shape)
        self.keys, self.values = list(self.all_keys), list(self.all_values)

    def clear(self, slot: int) -> None:
        """Forget a slot whose values cannot be trusted: not even a masked step may hold NaN."""
        for kept in (*self.keys, *self.values):
            kept[slot] = 0


class SpeechDecoder(nn.Module):
    """Decoder blocks over the answer's steps: conditions and earlier tokens in, seven layers of tokens out."""

    books: Tensor
    layer_books: Tensor

    def __init__(self, config: TtsAdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("books", torch.zeros(3, config.codes, config.code_dim))
        self.register_buffer("layer_books", torch.tensor(LAYER_BOOKS), persistent=False)
        self.condition = nn.Linear((DELAY + 1) * config.width, config.width)
        self.history = nn.Sequential(
            nn.Linear(AUDIO_LAYERS * (config.code_dim + 1), 2 * config.width),
            nn.GELU(),
            nn.Linear(2 * config.width, config.width),
        )
        self.blocks = nn.ModuleList(
            AttentionBlock(config.width, config.heads, config.hidden) for _ in range(config.decoder_blocks)
        )
        self.norm = nn.RMSNorm(config.width, eps=1e-5)
        self.aim = nn.ModuleList(nn.Linear(config.width, config.width) for _ in range(AUDIO_LAYERS))
        self.heads = nn.ModuleList(nn.Linear(config.width, config.codes, bias=False) for _ in range(AUDIO_LAYERS))

    def embed(self, conditions: Tensor, previous: Tensor) -> Tensor:
        """Windows of frame states (rows, steps, 8 · width) and the tokens of the step before (rows, steps, 7)."""
        pad = previous >= self.config.codes
        vectors = self.books[self.layer_books, previous.masked_fill(pad, 0)].masked_fill(pad[..., None], 0.0)
        history = torch.cat([vectors.flatten(-2), pad.to(vectors.dtype)], -1)
        embedded: Tensor = self.condition(conditions) + self.history(history)
        return embedded

    def logits(self, x: Tensor, conditions: Tensor) -> Tensor:
        """(rows, steps, 7, codes): layer j is told once more what frame s - 1 - j says."""
        x = norm_rows(self.norm, x)
        frames = conditions.unflatten(-1, (DELAY + 1, -1))  # frame s - 7 … s
        layers = [head(F.silu(x + aim(frames[..., DELAY - 1 - j, :]))) for j, (aim, head) in enumerate(self._heads())]
        return torch.stack(layers, -2)

    def _heads(self) -> list[tuple[nn.Module, nn.Module]]:
        return list(zip(self.aim, self.heads, strict=True))

    def forward(self, conditions: Tensor, previous: Tensor) -> Tensor:
        """Whole answers at once, for training: → logits (rows, steps, 7, codes)."""
        steps = conditions.shape[1]
        position = torch.arange(steps, device=conditions.device)
        back = position[:, None] - position
        mask = (back >= 0) & (back < self.config.window)
        x = self.embed(conditions, previous)
        for block in self.blocks:
            assert isinstance(block, AttentionBlock)
            x = block.attend(x, *block.project(x, position.expand(len(x), -1)), mask)
        return self.logits(x, conditions)

    def new_cache(self, slots: int) -> SpeechCache:
        """Room for `slots` answers, of any length."""
        return SpeechCache(len(self.blocks), slots, self.config, self.norm.weight.detach())

    def step(
        self, conditions: Tensor, previous: Tensor, positions: Tensor, slots: Tensor, cache: SpeechCache
    ) -> Tensor:
        """One step of any set of answers: (rows, 8 · width), (rows, 7), (rows,), (rows,) → (rows, 7, codes)."""
        window = self.config.window
        place = positions % window
        filled = (torch.arange(window, device=positions.device) <= positions[:, None])[:, None, None]
        conditions = conditions[:, None]
        x = self.embed(conditions, previous[:, None])
        for block, keys, values in zip(self.blocks, cache.keys, cache.values, strict=True):
            assert isinstance(block, AttentionBlock)
            q, k, v = block.project(x, positions[:, None])
            keys[slots, :, place] = k[:, :, 0]
            values[slots, :, place] = v[:, :, 0]
            x = block.attend(x, q, keys[slots], values[slots], filled)
        return self.logits(x, conditions)[:, 0]


class TtsAdapter(nn.Module):
    """Everything between the answer's text and its SNAC tokens."""

    def __init__(self, config: TtsAdapterConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TtsAdapterConfig()
        self.spelling = Spelling(config)
        self.phoneme_encoder = PhonemeEncoder(config)
        self.frame_encoder = FrameEncoder(config)
        self.decoder = SpeechDecoder(config)

    @property
    def pad(self) -> int:
        """The code that stands where there is none: before a layer's first frame and after its last."""
        return self.config.codes

    @property
    def default_sampling(self) -> SamplingParams:
        return SamplingParams(temperature=0.0)

    @property
    def condition_width(self) -> int:
        return (DELAY + 1) * self.config.width

    def planner(self, speed: float = 1.0) -> SpeechPlanner:
        """Begin an answer; at speed 2 it takes half of the time."""
        return SpeechPlanner(self, speed)

    def new_cache(self, slots: int) -> SpeechCache:
        """Room for `slots` answers, of any length."""
        return self.decoder.new_cache(slots)

    def step(
        self, conditions: Tensor, previous: Tensor, positions: Tensor, slots: Tensor, cache: SpeechCache
    ) -> Tensor:
        """One decoder step of the answers in `slots`.

        `conditions` (rows, condition_width) come from each answer's planner, `previous` (rows, 7) are the tokens of
        the step before (`pad` where there are none), `positions` (rows,) the step numbers → logits (rows, 7, codes).
        """
        return self.decoder.step(conditions, previous, positions, slots, cache)


def window_frames(frames: Tensor) -> Tensor:
    """Frame states (rows, frames, width) → what each of frames + 7 steps is shown (rows, steps, 8 · width).

    Step s sees the frames s - 7 … s, zeros where there is none.
    """
    padded = F.pad(frames, (0, 0, DELAY, DELAY))
    return padded.unfold(1, DELAY + 1, 1).transpose(2, 3).flatten(2)
