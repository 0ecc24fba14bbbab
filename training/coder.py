"""From sound to the SNAC tokens of a checkpoint's own mouth: what only training and judging need."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from snac import SNAC

from model.checkpoint import OWN_MOUTH, SNAC_FOLDER, read_config
from model.checkpoint_files import read_json, read_state
from model.config import OmniConfig
from model.mouth import SAMPLES_PER_FRAME, books_to_frames
from model.rounded import load_rounded
from model.snac_mouth import SNAC_CONFIG, SNAC_WEIGHTS, build_snac
from training.codec import Codec

CODEC_ENCODER = Path("training") / "codec_encoder.safetensors"
"""Of the embedded mouth, in a checkpoint's folder."""


class Coder(Protocol):
    """(samples,) float32 at 24 kHz → (frames, 7) int16."""

    codes: int
    """How many there are in a book."""

    def __call__(self, samples: np.ndarray) -> np.ndarray: ...


def _whole_frames(samples: np.ndarray) -> torch.Tensor:
    sound = torch.from_numpy(np.ascontiguousarray(samples, np.float32))[None]
    return F.pad(sound, (0, -len(samples) % SAMPLES_PER_FRAME))


class OwnCoder:
    """The embedded mouth's tokens."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec.eval()
        self.codes = codec.mouth.config.codebook_size

    @torch.inference_mode()
    def __call__(self, samples: np.ndarray) -> np.ndarray:
        frames: np.ndarray = books_to_frames(self.codec.encode(_whole_frames(samples)))[0].short().numpy()
        return frames


class SnacCoder:
    """SNAC's tokens."""

    def __init__(self, snac: SNAC) -> None:
        self.snac = snac.eval()
        self.codes = int(snac.codebook_size)

    @torch.inference_mode()
    def __call__(self, samples: np.ndarray) -> np.ndarray:
        frames: np.ndarray = books_to_frames(self.snac.encode(_whole_frames(samples)[None]))[0].short().numpy()
        return frames


def open_coder(folder: Path, config: OmniConfig | None = None) -> Coder | None:
    """The coder of a checkpoint's mouth; None where the folder lacks the encoder."""
    config = config or read_config(folder)
    if config.mouth is not None:
        if not (folder / CODEC_ENCODER).is_file():
            return None
        codec = Codec(config.mouth)
        codec.mouth.load_state_dict(load_file(folder / OWN_MOUTH))
        codec.encoder.load_state_dict(load_rounded(folder / CODEC_ENCODER))
        return OwnCoder(codec)
    place = folder / SNAC_FOLDER
    if not (place / SNAC_CONFIG).is_file():
        return None
    snac = build_snac(read_json(place / SNAC_CONFIG))
    snac.load_state_dict(read_state(place / SNAC_WEIGHTS))
    return SnacCoder(snac)
