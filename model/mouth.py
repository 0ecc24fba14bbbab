"""From SNAC tokens to sound.

`SnacDecoder` is the interface: code books in, 24 kHz samples out, whole or as a stream whose chunks join to exactly
what decoding the whole answer gives. `InverseStftDecoder` is the embedded model's small mouth: SNAC's own vector
quantisers (the `snac` package), causal ConvNeXt blocks and an inverse short-time Fourier transform, as in Vocos.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from snac.vq import ResidualVectorQuantize
from torch import Tensor, nn

SAMPLE_RATE = 24_000
SAMPLES_PER_FRAME = 2048
"""One frame is 7 codes, 85.33 ms."""
STRIDES = (4, 2, 1)
"""Latent steps that one code of each book covers; a frame is 4 latent steps of 512 samples."""


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
        return self.conv(x.transpose(1, 2)).transpose(1, 2), x[:, x.shape[1] - self.context :]


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
        total = (count - 1) * hop + n_fft
        added = F.fold(frames.transpose(1, 2), (1, total), (1, n_fft), stride=(1, hop))[:, 0, 0]
        added = torch.cat([added[:, : n_fft - hop] + overlap, added[:, n_fft - hop :]], 1)
        # four Hann windows at a quarter hop: their squares would sum to 1.5, a constant, at every sample
        return added[:, : count * hop] / 1.5, added[:, count * hop :]


class Mouth(nn.Module):
    """SNAC's quantisers and the inverse-STFT decoder: everything that speaks."""

    def __init__(self, config: MouthConfig) -> None:
        super().__init__()
        self.config = config
        self.quantizer = ResidualVectorQuantize(
            config.latent, config.codebook_size, config.codebook_dim, list(STRIDES)
        )
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
