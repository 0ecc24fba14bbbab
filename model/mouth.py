"""From SNAC tokens to sound.

`SnacDecoder` is the interface: code books in, 24 kHz samples out, whole or as a stream whose chunks join to exactly
what decoding the whole answer gives. `InverseStftDecoder` is the embedded model's small mouth: SNAC's own vector
quantisers (the `snac` package), causal ConvNeXt blocks and an inverse short-time Fourier transform, as in Vocos.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from snac.vq import ResidualVectorQuantize
from torch import Tensor, nn

SAMPLE_RATE = 24_000
SAMPLES_PER_FRAME = 2048
"""One frame is 7 codes, 85.33 ms."""
STRIDES = (4, 2, 1)
"""Latent steps that one code of each book covers; a frame is 4 latent steps of 512 samples."""


LAYER_BOOKS = (0, 1, 2, 2, 1, 2, 2)
"""The SNAC book of each of a frame's seven layers: L0, L1a, L2a, L2b, L1b, L2c, L2d."""


def frames_to_books(frames: Tensor) -> list[Tensor]:
    """(…, frames, 7) codes → the three SNAC books (…, frames · 1 | 2 | 4)."""
    layers = [[i for i, book in enumerate(LAYER_BOOKS) if book == wanted] for wanted in range(3)]
    return [frames[..., layer].flatten(-2) for layer in layers]


def books_to_frames(books: list[Tensor]) -> Tensor:
    """The three SNAC books → (…, frames, 7) codes; the inverse of `frames_to_books`."""
    parts = [book.unflatten(-1, (-1, 4 // stride)) for book, stride in zip(books, STRIDES, strict=True)]
    taken = [0, 0, 0]
    layers = []
    for book in LAYER_BOOKS:
        layers.append(parts[book][..., taken[book]])
        taken[book] += 1
    return torch.stack(layers, -1)


class SnacStream(Protocol):
    """One answer being spoken. All pushes and the finish, joined, are what decoding the whole answer gives."""

    def push(self, frames: Tensor) -> np.ndarray:
        """(n, 7) codes → the samples that are certain by now, float32; may be fewer than n · 2048."""
        ...

    def finish(self) -> np.ndarray:
        """The samples still owed; nothing may be pushed afterwards."""
        ...


class SnacDecoder(Protocol):
    """Speaks frames of seven SNAC codes at 24 kHz."""

    def decode(self, frames: Tensor) -> Tensor:
        """(frames, 7) codes → (frames · 2048,) samples."""
        ...

    def stream(self) -> SnacStream:
        """Begin an answer."""
        ...


@dataclass(frozen=True)
class MouthConfig:
    """Sizes of the inverse-STFT decoder.

    `lookahead` is counted in latent steps of 21.3 ms: a stream's output trails its input by that much and by the
    overlap of the Fourier windows, and both are spoken when the stream ends.
    """

    latent: int = 128
    width: int = 256
    hidden: int = 768
    blocks: int = 3
    fine_blocks: int = 5
    kernel: int = 7
    lookahead: int = 2
    codebook_size: int = 1024
    codebook_dim: int = 8
    n_fft: int = 1024
    hop: int = 256


class CausalConv(nn.Module):
    """One-dimensional convolution over (batch, time, channels) that looks `kernel - 1` steps back and none ahead."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, groups=groups)
        self.context = kernel - 1

    def state(self, rows: int) -> Tensor:
        """What a stream begins with: silence, (rows, context, channels)."""
        return self.conv.weight.new_zeros(rows, self.context, self.conv.in_channels)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([state.to(x.dtype), x], 1)
        after = x[:, x.shape[1] - self.context :]
        weight, bias = self.conv.weight, self.conv.bias
        if self.training or bias is None:
            return self.conv(x.transpose(1, 2)).transpose(1, 2), after
        # (batch, time, inputs, kernel): for the few steps of a chunk quicker than a convolution
        windows = x.unfold(1, self.context + 1, 1)
        if self.conv.groups > 1:
            return (windows * weight[:, 0]).sum(-1) + bias, after
        return F.linear(windows.flatten(2), weight.flatten(1), bias), after


class CausalConvNeXt(nn.Module):
    """ConvNeXt block (depthwise convolution, LayerNorm, two linear layers, scaled residual), causal."""

    def __init__(self, width: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = CausalConv(width, width, kernel, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self.depthwise(x, state)
        return x + self.scale * self.down(F.gelu(self.up(self.norm(y)))), state


MouthState = list[Tensor]
"""One tensor a convolution, then the overlap that the next Fourier window adds to; first dimension: rows."""


class InverseStftDecoder(nn.Module):
    """Latents of the quantiser at 46.9 Hz to samples at 24 kHz, causal but for `lookahead` latent steps."""

    window: Tensor

    def __init__(self, config: MouthConfig) -> None:
        super().__init__()
        self.config = config
        self.enter = CausalConv(config.latent, config.width, config.kernel)
        self.blocks = nn.ModuleList(
            CausalConvNeXt(config.width, config.hidden, config.kernel) for _ in range(config.blocks)
        )
        self.upsample = nn.Linear(config.width, 2 * config.width)
        self.fine_blocks = nn.ModuleList(
            CausalConvNeXt(config.width, config.hidden, config.kernel) for _ in range(config.fine_blocks)
        )
        self.norm = nn.LayerNorm(config.width)
        self.spectrum = nn.Linear(config.width, config.n_fft + 2)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    @property
    def delay(self) -> int:
        """Samples by which a stream's output trails its input."""
        c = self.config
        return c.lookahead * SAMPLES_PER_FRAME // STRIDES[0] + (c.n_fft - c.hop) // 2

    def state(self, rows: int) -> MouthState:
        """The state of `rows` streams that have not begun."""
        convolutions = [m for m in self.modules() if isinstance(m, CausalConv)]
        overlap = self.window.new_zeros(rows, self.config.n_fft - self.config.hop)
        return [*(conv.state(rows) for conv in convolutions), overlap]

    def forward(self, latents: Tensor, state: MouthState) -> tuple[Tensor, MouthState]:
        """(rows, steps, latent) → (rows, steps · 512) samples, late by `delay`, and the state to go on from."""
        after: MouthState = []

        def run(layer: nn.Module, x: Tensor) -> Tensor:
            x, kept = layer(x, state[len(after)])
            after.append(kept)
            return x

        x = run(self.enter, latents)
        for block in self.blocks:
            x = run(block, x)
        x = self.upsample(x).unflatten(-1, (2, -1)).flatten(1, 2)
        for block in self.fine_blocks:
            x = run(block, x)
        magnitude, phase = self.spectrum(self.norm(x)).float().chunk(2, -1)
        magnitude = magnitude.clamp(max=6).exp()
        spectrum = torch.complex(magnitude * phase.cos(), magnitude * phase.sin())
        frames = torch.fft.irfft(spectrum, self.config.n_fft, dim=-1) * self.window
        samples, overlap = self._overlap_add(frames, state[-1])
        after.append(overlap)
        return samples, after

    def _overlap_add(self, frames: Tensor, overlap: Tensor) -> tuple[Tensor, Tensor]:
        hop, n_fft = self.config.hop, self.config.n_fft
        count = frames.shape[1]
        parts = frames.unflatten(-1, (n_fft // hop, hop))  # (rows, count, 4, hop)
        added = F.pad(overlap, (0, count * hop)).unflatten(-1, (-1, hop))  # (rows, count + 3, hop)
        for part in range(n_fft // hop):
            added[:, part : part + count] += parts[:, :, part]
        samples = added.flatten(1)
        # four Hann windows at a quarter hop: their squares would sum to 1.5, a constant, at every sample
        return samples[:, : count * hop] / 1.5, samples[:, count * hop :]


class Mouth(nn.Module):
    """SNAC's quantisers and the inverse-STFT decoder: everything that speaks."""

    def __init__(self, config: MouthConfig) -> None:
        super().__init__()
        self.config = config
        self.quantizer = ResidualVectorQuantize(config.latent, config.codebook_size, config.codebook_dim, list(STRIDES))
        self.decoder = InverseStftDecoder(config)

    def latents(self, codes: list[Tensor]) -> Tensor:
        """Three books (rows, frames · 1 | 2 | 4) → (rows, frames · 4, latent)."""
        return self.quantizer.from_codes(codes).transpose(1, 2)

    def decode(self, codes: list[Tensor]) -> Tensor:
        """Whole answers: three books → (rows, frames · 2048) samples."""
        return self.speak(self.latents(codes))

    def speak(self, latents: Tensor) -> Tensor:
        """Whole answers from latents (rows, steps, latent), in time with the input."""
        extra = self.decoder.config.lookahead + 1  # the last step ends the Fourier windows that are still open
        padded = F.pad(latents, (0, 0, 0, extra))
        samples, _ = self.decoder(padded, self.decoder.state(len(latents)))
        return samples[:, self.decoder.delay :][:, : latents.shape[1] * SAMPLES_PER_FRAME // STRIDES[0]]


class MouthDecoder:
    """The embedded model's `SnacDecoder`."""

    @torch.inference_mode()
    def __init__(self, mouth: Mouth) -> None:
        self.mouth = mouth.eval()
        self._vectors = [q.out_proj(q.codebook.weight.T[None])[0].T.contiguous() for q in mouth.quantizer.quantizers]
        """What each code of each book adds to the latents, (codes, latent)."""

    def latents(self, frames: Tensor) -> Tensor:
        """(frames, 7) codes → (1, frames · 4, latent): what `Mouth.latents` gives, looked up."""
        books = zip(frames_to_books(frames), self._vectors, STRIDES, strict=True)
        return sum((vectors[book].repeat_interleave(stride, 0) for book, vectors, stride in books), torch.zeros(()))[
            None
        ]

    @torch.inference_mode()
    def decode(self, frames: Tensor) -> Tensor:
        return self.mouth.speak(self.latents(frames))[0]

    def stream(self) -> MouthStream:
        return MouthStream(self)


class MouthStream:
    """Carries the convolutions' state from push to push: every frame is computed once."""

    def __init__(self, decoder: MouthDecoder) -> None:
        self._latents = decoder.latents
        self._mouth = decoder.mouth
        self._state = self._mouth.decoder.state(1)
        self._skip = self._mouth.decoder.delay
        self._owed = 0

    @torch.inference_mode()
    def _run(self, latents: Tensor) -> np.ndarray:
        samples, self._state = self._mouth.decoder(latents, self._state)
        kept: np.ndarray = samples[0, self._skip :].numpy()
        self._skip = max(0, self._skip - samples.shape[1])
        return kept

    def push(self, frames: Tensor) -> np.ndarray:
        if not len(frames):
            return np.zeros(0, np.float32)
        self._owed += len(frames) * SAMPLES_PER_FRAME
        samples = self._run(self._latents(frames))
        self._owed -= len(samples)
        return samples

    def finish(self) -> np.ndarray:
        if not self._owed:
            return np.zeros(0, np.float32)
        steps = self._mouth.config.lookahead + 1
        samples = self._run(self._mouth.decoder.window.new_zeros(1, steps, self._mouth.config.latent))[: self._owed]
        self._owed = 0
        return samples
