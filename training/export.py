"""Writes the embedded checkpoint: the trained parts as half-precision safetensors, sizes, tokenizer.

Into the folder of a grafted model it writes its voice: TTS adapter and mouth take the place of those that are there.

The codec's encoder, which only training needs, goes to its `training/` folder: `training.resume` goes on from there.

    python -m training.export --adapter work/adapter.average.pt --spelling work/spelling.pt --codec work/mouth.pt \
        --out checkpoints/smol-omni
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from model.checkpoint import read_config
from model.config import smol_omni
from model.rounded import save_rounded
from model.tts_adapter import TtsAdapter
from model.weights.language_model import LanguageModel
from model.weights.smollm2 import SMOLLM2
from training.codec import load_codec
from training.coder import CODEC_ENCODER
from training.listen import load_adapter


def half(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.half().contiguous() for name, tensor in module.state_dict().items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--spelling", type=Path)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("checkpoints/smol-omni"))
    options = parser.parse_args()
    (options.out / CODEC_ENCODER).parent.mkdir(parents=True, exist_ok=True)
    codec, _ = load_codec(options.codec)
    adapter = load_adapter(options.adapter, options.spelling) if options.adapter else TtsAdapter()
    with torch.no_grad():
        for book, quantizer in zip(adapter.decoder.books, codec.mouth.quantizer.quantizers, strict=True):
            book.copy_(quantizer.codebook.weight)
    save_file(half(codec.mouth), options.out / "mouth.safetensors")
    save_file(half(adapter), options.out / "tts_adapter.safetensors")
    save_rounded(codec.encoder.state_dict(), options.out / CODEC_ENCODER)
    if (options.out / "config.json").exists():  # a grafted model, or an earlier version of this one
        config = replace(read_config(options.out), tts_adapter=adapter.config, mouth=codec.mouth.config)
    else:
        config = smol_omni(adapter.config, codec.mouth.config)
    fields = {"model_type": "smol-omni", **config.to_dict()}
    (options.out / "config.json").write_text(json.dumps(fields, indent=2) + "\n")
    if not (options.out / "tokenizer.json").exists():
        tokenizer = LanguageModel(SMOLLM2.open()).tokenizer_json()
        (options.out / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    for file in sorted(options.out.iterdir()):
        print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
