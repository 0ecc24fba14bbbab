"""The eight streams of Mini-Omni: tasks, ids, prompts, and the delay between text and audio (paper section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

AUDIO_LAYERS = 7
STREAMS = AUDIO_LAYERS + 1
"""Seven audio layers, then text."""
DELAY = AUDIO_LAYERS
"""Layer j of frame f is the token of step f + 1 + j: frame f is complete after step f + 7."""


class Task(Enum):
    """What goes in (A: audio, T: text) and what comes out, as the published model names them."""

    A1A2 = "A1A2"
    A1T2 = "A1T2"
    A1T1 = "A1T1"
    T1A2 = "T1A2"
    T1T2 = "T1T2"

    @property
    def hears(self) -> bool:
        """The question is audio."""
        return self.value.startswith("A1")

    @property
    def speaks(self) -> bool:
        """The answer is audio, with its text beside it."""
        return self.value.endswith("A2")


@dataclass(frozen=True)
class Vocabulary:
    """One table serves all streams: text first, then the seven audio layers side by side.

    Text ids are used as they are. An audio layer's ids (codes, then specials) are shifted into its own stretch.
    """

    text: int = 151_936
    text_specials: int = 64
    codes: int = 4096
    code_specials: int = 64
    own_end: int | None = None
    """The body's own token that ends a text; None: the first special, as in the published vocabulary."""
    own_input: int | None = None
    """The body's own token that opens a prompt; None: the third special."""
    own_answer: int | None = None
    """The body's own token before an answer; None: the fourth special."""

    @property
    def text_size(self) -> int:
        """Rows of the table that are text, specials included."""
        return self.text + self.text_specials

    @property
    def layer_size(self) -> int:
        """Rows of the table that are one audio layer, specials included."""
        return self.codes + self.code_specials

    @property
    def size(self) -> int:
        return self.text_size + AUDIO_LAYERS * self.layer_size

    @property
    def end_of_text(self) -> int:
        return self.text if self.own_end is None else self.own_end

    @property
    def pad_text(self) -> int:
        return self.text + 1

    @property
    def input_text(self) -> int:
        return self.text + 2 if self.own_input is None else self.own_input

    @property
    def answer_text(self) -> int:
        return self.text + 3 if self.own_answer is None else self.own_answer

    @property
    def transcribe_text(self) -> int:
        return self.text + 4

    @property
    def end_of_audio(self) -> int:
        return self.codes

    @property
    def pad_audio(self) -> int:
        return self.codes + 1

    @property
    def input_audio(self) -> int:
        return self.codes + 2

    @property
    def answer_audio(self) -> int:
        return self.codes + 3

    def shift(self, layers: Tensor) -> Tensor:
        """Codes (…, 7) → rows of the table (…, 7)."""
        return layers + self._offsets(layers)

    def unshift(self, rows: Tensor) -> Tensor:
        """Rows of the table (…, 7) → codes (…, 7); the inverse of `shift`."""
        return rows - self._offsets(rows)

    def _offsets(self, like: Tensor) -> Tensor:
        return self.text_size + self.layer_size * torch.arange(AUDIO_LAYERS, device=like.device)

    def streams(self, audio: Tensor, text: Tensor) -> Tensor:
        """Codes (…, 7) and text ids (…) → rows of the table (…, 8), as the model's input."""
        return torch.cat([self.shift(audio), text[..., None]], -1)

    def padded(self, text: Tensor) -> Tensor:
        """Text ids (…) with all audio layers padded → rows of the table (…, 8)."""
        audio = torch.full((*text.shape, AUDIO_LAYERS), self.pad_audio, device=text.device)
        return self.streams(audio, text)


@dataclass(frozen=True)
class Prompt:
    """Input of a whole prompt: rows of the table (positions, 8), and where the adapter's features go."""

    ids: Tensor
    features_at: int | None
    """First of the positions whose seven audio rows are replaced by features; None for text questions."""


def build_prompt(vocabulary: Vocabulary, task: Task, frames: int = 0, text: Tensor | None = None) -> Prompt:
    """The prompt of a task, for `frames` feature frames or for `text` ids (n,)."""
    v = vocabulary
    if task.hears:
        closing = v.answer_audio if task.speaks else v.pad_audio
        answer = v.transcribe_text if task is Task.A1T1 else v.answer_text
        audio = [v.input_audio, *[v.pad_audio] * frames, v.end_of_audio, closing]
        written = [v.input_text, *[v.pad_text] * frames, v.end_of_text, answer]
    else:
        if text is None:
            raise ValueError(f"task {task.value} needs text ids")
        closing = v.answer_audio if task.speaks else v.pad_audio
        audio = [*[v.pad_audio] * (len(text) + 2), closing]
        written = [v.input_text, *text.tolist(), v.end_of_text, v.answer_text]
    layers = torch.tensor(audio)[:, None].expand(-1, AUDIO_LAYERS)
    return Prompt(v.streams(layers, torch.tensor(written)), 1 if task.hears else None)


def delay(frames: Tensor, pad: int) -> Tensor:
    """Frames (…, n, 7) → the tokens of n + 7 steps (…, n + 7, 7): layer j of frame f at step f + 1 + j, else `pad`."""
    count = frames.shape[-2]
    steps = frames.new_full((*frames.shape[:-2], count + DELAY, AUDIO_LAYERS), pad)
    for layer in range(AUDIO_LAYERS):
        steps[..., layer + 1 : layer + 1 + count, layer] = frames[..., layer]
    return steps


def undelay(steps: Tensor) -> Tensor:
    """Tokens (n, 7) of steps 0 … n - 1 → the frames that are complete, (max(0, n - 7), 7)."""
    count = max(0, len(steps) - DELAY)
    return torch.stack([steps[layer + 1 : layer + 1 + count, layer] for layer in range(AUDIO_LAYERS)], -1)
