"""The published model's mouth: the `snac` package's 24 kHz decoder, as a stream.

Its convolutions look about 10 latent steps (0.21 s) to either side, so a sample is certain once that much follows.
The stream decodes every stretch with its whole context and nothing twice that is not context: chunks join to what
decoding the whole answer gives. The decoder's noise blocks draw from a fixed table by position, so that the same
answer always sounds the same, streamed or whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from snac import SNAC
from snac.layers import DecoderBlock, NoiseBlock
from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_weight_norm

from model.mouth import SAMPLE_RATE, SAMPLES_PER_FRAME, STRIDES, frames_to_books
from model.request import InvalidRequest

SNAC_24KHZ: dict[str, Any] = {
    "sampling_rate": 24_000,
    "encoder_dim": 48,
    "encoder_rates": [2, 4, 8, 8],
    "decoder_dim": 1024,
    "decoder_rates": [8, 8, 4, 2],
    "attn_window_size": None,
    "codebook_size": 4096,
    "codebook_dim": 8,
    "vq_strides": [4, 2, 1],
    "noise": True,
    "depthwise": True,
}
SNAC_CONFIG, SNAC_WEIGHTS = "config.json", "pytorch_model.bin"
"""The files of `hubertsiuzdak/snac_24khz`."""
CONTEXT_STEPS = 11
"""Latent steps to either side that decide a sample: 3 of the first convolution, 1 + 4.9 of the first block (dilations
1, 3, 9 of kernel 7 at eight times the rate), 0.8 of the second, 0.2 of the rest."""
NARROW_STEPS = 2
"""Of them, what everything after the first block sees, rounded up."""
_STEP_SAMPLES = SAMPLES_PER_FRAME // STRIDES[0]
_STEPS_PER_FRAME = STRIDES[0]


class PositionNoise(nn.Module):
    """`snac`'s noise block with noise that depends on the position only."""

    table: Tensor

    def __init__(self, block: NoiseBlock, rate: int) -> None:
        super().__init__()
        self.linear = block.linear
        self.rate = rate
        """Positions a latent step."""
        self.first_step = 0
        noise = np.random.default_rng(rate).standard_normal(1 << 16, dtype=np.float32)
        self.register_buffer("table", torch.from_numpy(noise), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        positions = torch.arange(x.shape[-1], device=x.device) + self.first_step * self.rate
        noise = self.table[positions % len(self.table)].to(x.dtype)
        out: Tensor = x + noise * self.linear(x)
        return out


def build_snac(fields: Mapping[str, Any]) -> SNAC:
    """`snac`'s module from the fields of its `config.json`, its weights still to be loaded.

    `ValueError` where its frames are not the seven codes of 2048 samples at 24 kHz that the model speaks.
    """
    snac = SNAC(**fields)
    found = (snac.sampling_rate, tuple(snac.vq_strides), int(snac.hop_length))
    wanted = (SAMPLE_RATE, STRIDES, _STEP_SAMPLES)
    if found != wanted or snac.attn_window_size is not None:
        raise ValueError(
            f"sampling rate, strides and hop are {found}, wanted {wanted}, with attn_window_size null, "
            f"found {snac.attn_window_size}"
        )
    return snac


def _fold_weight_norms(module: nn.Module) -> None:
    """Weights as they are multiplied: computing them anew for every chunk takes as long as a frame."""
    for part in module.modules():
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight")
        elif hasattr(part, "weight_g"):
            remove_weight_norm(part)


class PublishedSnac:
    """`SnacDecoder` of the published model."""

    def __init__(self, snac: SNAC) -> None:
        self.snac = snac.eval()
        _fold_weight_norms(self.snac)
        self._noises = self._fix_noise()
        layers = list(self.snac.decoder.model)
        self._wide = next(n for n, layer in enumerate(layers) if isinstance(layer, DecoderBlock)) + 1
        """Layers up to the end of the first block, which look farthest to either side."""

    def _fix_noise(self) -> list[PositionNoise]:
        """Put `PositionNoise` in the place of every noise block."""
        noises, rate = [], 1
        for block in self.snac.decoder.model:
            for index, module in enumerate(getattr(block, "block", ())):
                if isinstance(module, nn.ConvTranspose1d):
                    rate *= module.stride[0]
                elif isinstance(module, NoiseBlock):
                    block.block[index] = noise = PositionNoise(module, rate)
                    noises.append(noise)
        return noises

    def latents(self, frames: Tensor) -> Tensor:
        """(frames, 7) codes → (1, latent, frames · 4)."""
        latents: Tensor = self.snac.quantizer.from_codes([book[None] for book in frames_to_books(frames)])
        return latents

    @torch.inference_mode()
    def run(self, latents: Tensor, first_step: int, begin: int = 0, end: int | None = None) -> Tensor:
        """Latents (1, latent, n) that start at `first_step` of the answer → samples of the steps `begin` … `end` among
        them, ((end - begin) · 512,).

        After the first block, only steps that still decide one of those samples go on.
        """
        end = latents.shape[-1] if end is None else end
        layers = self.snac.decoder.model
        first, last = max(0, begin - NARROW_STEPS), min(latents.shape[-1], end + NARROW_STEPS)
        for number, noise in enumerate(self._noises):
            noise.first_step = first_step + (first if number else 0)
        x = layers[: self._wide](latents)
        rate = x.shape[-1] // latents.shape[-1]
        x = layers[self._wide :](x[..., first * rate : last * rate])
        samples: Tensor = x[0, 0, (begin - first) * _STEP_SAMPLES : (end - first) * _STEP_SAMPLES]
        return samples

    @torch.inference_mode()
    def decode(self, frames: Tensor) -> Tensor:
        """(frames, 7) codes → (frames · 2048,) samples."""
        if not len(frames):
            return torch.zeros(0)
        return self.run(self.latents(check_codes(frames, self.snac.codebook_size)), 0)

    def stream(self) -> PublishedStream:
        return PublishedStream(self)


class PublishedStream:
    """`SnacStream`: keeps the context that the next stretch needs."""

    def __init__(self, decoder: PublishedSnac) -> None:
        self._decoder = decoder
        self._latents: Tensor | None = None
        self._first = 0  # latent step that the kept latents begin with
        self._done = 0  # latent steps already spoken
        self._count = 0

    @torch.inference_mode()
    def push(self, frames: Tensor) -> np.ndarray:
        if len(frames):
            latents = self._decoder.latents(check_codes(frames, self._decoder.snac.codebook_size))
            self._latents = latents if self._latents is None else torch.cat([self._latents, latents], -1)
            self._count += len(frames) * _STEPS_PER_FRAME
        return self._speak(self._count - CONTEXT_STEPS)

    def finish(self) -> np.ndarray:
        return self._speak(self._count)

    def _speak(self, until: int) -> np.ndarray:
        """Samples up to latent step `until`, with whole context."""
        if until <= self._done or self._latents is None:
            return np.zeros(0, np.float32)
        samples = self._decoder.run(self._latents, self._first, self._done - self._first, until - self._first)
        spoken: np.ndarray = samples.float().numpy()
        self._done = until
        keep = max(0, until - CONTEXT_STEPS)
        self._latents = self._latents[..., keep - self._first :]
        self._first = keep
        return spoken


def check_codes(frames: Tensor, codes: int) -> Tensor:
    """The frames; `InvalidRequest` where a code is outside its book."""
    if len(frames) and not (int(frames.min()) >= 0 and int(frames.max()) < codes):
        raise InvalidRequest(f"codes from {int(frames.min())} to {int(frames.max())}, wanted 0 to {codes - 1}")
    return frames
