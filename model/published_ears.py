"""The published model's ears: Whisper small's encoder over its 30 s window, at the cost of what was said.

After a short question nearly all of the window is silence. What the encoder makes of it hardly depends on the words
before, so its keys and values in each layer are taken from a window of silence alone, which is computed once; what was
said, and a little silence after it, attends to them. States of Whisper base differ by 7 to 15 % from the whole window's
(cosine 0.98 to 0.997); of a window that ends 2 s after the words, they differ by 20 to 28 %.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from whisper.model import ResidualAttentionBlock

from model.audio import N_MELS, SAMPLE_RATE, WINDOW_STATES, log_mel, states_of
from model.cancellation import give_up_if_unwanted
from model.ears import StateEncoder, check_audio

TAIL_STATES = 100
"""Silence after the sound that is really read: 2 s."""
SILENT_MEL = -0.9
"""Whisper's mel values of silence lie between -0.5 and -0.9, by how loud the speech is; this came nearest for all."""


class PublishedEars:
    """The published model's ears."""

    def __init__(self, encoder: StateEncoder, exact: bool = False) -> None:
        """`exact`: the silence after the words is really read, too, as openai-whisper does it."""
        self.encoder = encoder
        self._window = None if exact else SilentWindow(encoder)

    @property
    def width(self) -> int:
        return int(self.encoder.encoder.ln_post.weight.shape[0])

    def features(self, audio: np.ndarray) -> Tensor:
        """(samples,) float32 at 16 kHz → states (1, T, width), T = int(duration_ms / 20) + 1, before the adapter."""
        samples = check_audio(audio)
        duration_ms = len(samples) / SAMPLE_RATE * 1000
        states = self.encoder(log_mel(samples)) if self._window is None else self._window(samples)
        return states[None, : int(duration_ms / 20) + 1]


class SilentWindow:
    """Keys and values of a silent window in every layer of an encoder."""

    def __init__(self, encoder: StateEncoder) -> None:
        self._encoder = encoder
        self._kept: list[tuple[Tensor, Tensor]] | None = None

    @torch.inference_mode()
    def __call__(self, samples: np.ndarray) -> Tensor:
        """(n,) float32 at 16 kHz → states of the sound and of some silence, 20 ms each, (T, width)."""
        if self._kept is None:
            kept: list[tuple[Tensor, Tensor]] = []
            self._run(torch.full((N_MELS, 2 * WINDOW_STATES), SILENT_MEL), WINDOW_STATES, kept)
            self._kept = kept
        count = min(WINDOW_STATES, states_of(len(samples)) + TAIL_STATES)
        mel = log_mel(samples, min(WINDOW_STATES, count + 2))  # the convolutions look two states ahead
        return self._run(mel, count, None)

    def _run(self, mel: Tensor, count: int, keep: list[tuple[Tensor, Tensor]] | None) -> Tensor:
        """The first `count` states; their keys and values go to `keep`, or are joined by the silent window's."""
        encoder = self._encoder.encoder
        x = self._encoder.enter(mel)[:, :count]
        for index, block in enumerate(encoder.blocks):
            give_up_if_unwanted()
            assert isinstance(block, ResidualAttentionBlock)
            y = block.attn_ln(x)
            key, value = block.attn.key(y), block.attn.value(y)
            if keep is not None:
                keep.append((key, value))
            elif self._kept is not None:
                silent_key, silent_value = self._kept[index]
                key, value = torch.cat([key, silent_key[:, count:]], 1), torch.cat([value, silent_value[:, count:]], 1)
            parts = (block.attn.query(y), key, value)
            q, k, v = (part.unflatten(-1, (block.attn.n_head, -1)).transpose(1, 2) for part in parts)
            seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            x = x + block.attn.out(seen)
            x = x + block.mlp(block.mlp_ln(x))
        states: Tensor = encoder.ln_post(x)[0]
        return states
