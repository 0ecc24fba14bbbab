"""Opens, saves and converts models: the published layout and our own, from a folder or a hub id.

| | published | ours |
|---|---|---|
| sizes | `model_config.yaml` | `config.json` |
| language model | `lit_model.pth` | `network.safetensors`; the embedded model's comes in a wheel |
| ears, mouth | `small.pt`, `snac_24khz/` | the same; the embedded model's `mouth.safetensors`, ears in a wheel |
| also | `tokenizer.json` | `tokenizer.json`; the embedded model's `tts_adapter.safetensors`, `turn_end.safetensors` |

    python -m model.checkpoint convert SOURCE TARGET        # from either layout to the other
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor
from whisper.model import ModelDimensions

from model.checkpoint_files import (
    CheckpointError,
    check_keys,
    fill,
    read_json,
    read_pickle,
    read_state,
    read_tensors,
    read_tokenizer,
    read_yaml,
    shapes_of,
)
from model.config import OmniConfig
from model.drafted_words import hear_from_drafts
from model.ear_adapter import load_ear_adapter
from model.ears import Ears, StateEncoder, whisper_base, whisper_encoder
from model.mouth import Mouth, MouthDecoder, SnacDecoder
from model.network import OmniNetwork
from model.omni import MiniOmni
from model.packed import WeightFormat, pack_linears, quick_dtype
from model.process_memory import give_back_memory
from model.public_layout import from_public, public_shapes, to_public
from model.published_ears import PublishedEars
from model.quick_convnext import pack_stacks
from model.quick_speech import QuickSpeechDecoder
from model.snac_mouth import SNAC_CONFIG, SNAC_WEIGHTS, PublishedSnac, build_snac
from model.tts_adapter import TtsAdapter
from model.turn_end import TurnEnd
from model.unset import weights_unset
from model.wheels import smollm2_state_dict, smollm2_tensors

__all__ = ["EMBEDDED", "CheckpointError", "Precision", "convert", "open_model", "save"]

log = logging.getLogger(__name__)
_PACKAGE = Path(__file__).resolve().parent
EMBEDDED = (_PACKAGE if (_PACKAGE / "checkpoints").is_dir() else _PACKAGE.parent) / "checkpoints" / "smol-omni"
"""Inside the package where it is installed, beside it in a checkout."""
PUBLIC_WEIGHTS, PUBLIC_CONFIG, PUBLIC_EARS = "lit_model.pth", "model_config.yaml", "small.pt"
OWN_CONFIG, OWN_NETWORK = "config.json", "network.safetensors"
OWN_ADAPTER, OWN_MOUTH = "tts_adapter.safetensors", "mouth.safetensors"
OWN_EARS = "ear_adapter.safetensors"
"""Drafts what is heard, in checkpoints that have one."""
OWN_TURN_END = "turn_end.safetensors"
"""Judges whether a question is over, in checkpoints that have one."""
TOKENIZER = "tokenizer.json"
SNAC_ID, SNAC_FOLDER = "hubertsiuzdak/snac_24khz", "snac_24khz"
_BESIDE = (TOKENIZER, "tokenizer_config.json", OWN_EARS, PUBLIC_EARS, SNAC_FOLDER)
"""What both layouts hold alike."""
Features = Callable[[np.ndarray], Tensor]
"""Samples at 16 kHz → the adapter's input."""


@dataclass(frozen=True)
class Precision:
    """How weights are held: the dtype of what flows, and the format of the matrices that it is multiplied with."""

    dtype: torch.dtype
    weights: WeightFormat = "plain"
    fused: bool = False

    @classmethod
    def of(cls, name: torch.dtype | str, device: torch.device) -> Precision:
        """`auto` is bfloat16 on a GPU, int8 on a CPU.

        A `torch.dtype` keeps the body as `transformers` made it.
        """
        if isinstance(name, torch.dtype):
            return cls(name)
        on_cpu = device.type == "cpu"
        if name == "auto":
            name = "int8" if on_cpu else "bfloat16"
        if name == "int8" and not on_cpu:
            raise CheckpointError(f"int8 weights are multiplied on CPUs only; choose bfloat16 for {device.type}")
        known = {
            "float32": cls(torch.float32),
            "bfloat16": cls(torch.bfloat16, fused=True),
            "float16": cls(torch.float32, "float16", fused=True) if on_cpu else cls(torch.float16, fused=True),
            "int8": cls(torch.float32, "int8", fused=True),
        }
        if name not in known:
            raise CheckpointError(f"dtype {name!r} is unknown; choose auto, {', '.join(known)}")
        return known[name]

    def hearing(self, device: torch.device) -> torch.dtype:
        """Of Whisper's sums."""
        return quick_dtype(device) if self.fused else self.dtype


# -- opening --------------------------------------------------------------------------------------------------------
def open_model(path: str | Path | None, device: torch.device, dtype: torch.dtype | str) -> MiniOmni:
    """Open a folder or hub id in either layout; None: the embedded model."""
    folder = EMBEDDED if path is None else find(path)
    precision = Precision.of(dtype, device)
    config = read_config(folder)
    with ThreadPoolExecutor(1) as beside:
        ears = beside.submit(open_ears, folder, config, precision, device)
        network = read_network(folder, config, precision).to(device)
        omni = MiniOmni(config, network, read_tokenizer(folder / TOKENIZER), name=model_name(path))
        if precision.fused:
            network.fuse(precision.weights)
        if config.audio_route == "body":
            omni.features = open_public_ears(folder, config, precision, device)
        omni.adapter = open_adapter(folder, config)
        omni.mouth = open_mouth(folder, config)
        omni.turn_end = open_turn_end(folder, omni)
        omni.ears = ears.result()
    if precision.fused and device.type == "cpu":
        if omni.adapter is not None:
            pack_stacks(omni.adapter)
            if QuickSpeechDecoder.fits(omni.adapter.config):
                omni.adapter.decoder = QuickSpeechDecoder(omni.adapter.decoder)  # type: ignore[assignment]
        for part in (omni.adapter, omni.mouth.mouth if isinstance(omni.mouth, MouthDecoder) else None):
            if part is not None:
                pack_linears(part, "float16")
    give_back_memory()
    return omni


def model_name(path: str | Path | None) -> str:
    """The name of the model that `open_model` opens: of its folder (a link keeps its own name), or the hub id."""
    if path is None:
        return EMBEDDED.name
    return os.path.basename(os.path.abspath(path)) if Path(path).is_dir() else str(path)  # noqa: PTH100, PTH119 (`resolve` follows links)


def find(path: str | Path) -> Path:
    """The folder of a path or hub id."""
    if (folder := Path(path)).is_dir():
        return folder
    if folder.is_absolute() or str(path).count("/") != 1:
        raise CheckpointError(f"{path}: there is no such folder, and it is not a hub id (owner/name)")
    try:
        return Path(huggingface_hub.snapshot_download(str(path)))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: there is no such folder, and the hub does not give it ({error}); "
            "fetch it where there is a network and give the folder"
        ) from error


def is_published(folder: Path) -> bool:
    """The folder is in the published layout; a `config.json` beside it, as hubs like to have one, changes nothing."""
    return (folder / PUBLIC_CONFIG).is_file() and not (folder / OWN_NETWORK).is_file()


def read_config(folder: Path) -> OmniConfig:
    """The sizes of the model in a folder of either layout."""
    name = PUBLIC_CONFIG if is_published(folder) else OWN_CONFIG
    path = folder / name
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has neither {OWN_CONFIG} (our layout) nor {PUBLIC_CONFIG} (the published one); "
            "give the folder of a checkpoint"
        )
    try:
        if name == PUBLIC_CONFIG:
            return OmniConfig.from_public(read_yaml(path))
        return OmniConfig.from_dict(read_json(path))
    except KeyError as error:
        raise CheckpointError(f"{path}: the field {error} is missing; fetch the file again") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: a field is unknown or has a wrong value ({error}); fetch it again") from error


def read_network(folder: Path, config: OmniConfig, precision: Precision) -> OmniNetwork:
    """The language model, from the folder or from its wheel."""
    if is_published(folder):
        return published_network(folder, config, precision.dtype)
    if config.body_weights is not None and precision.weights == "int8":  # as it comes, without a detour by float32
        with weights_unset():
            return OmniNetwork.from_gguf(config, smollm2_tensors())
    return own_network(folder, config, precision.dtype)


def build_network(config: OmniConfig, dtype: torch.dtype) -> OmniNetwork:
    """A network of the right shape and dtype whose weights are still to be set: none are drawn."""
    from transformers.initialization import no_init_weights  # two seconds, which the embedded model need not wait

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with no_init_weights():
            return OmniNetwork(config)
    finally:
        torch.set_default_dtype(before)


def read_public_state(folder: Path, config: OmniConfig) -> dict[str, Tensor]:
    """`lit_model.pth`, checked. Of tied weights, which PyTorch saves under both names, one is kept."""
    path = folder / PUBLIC_WEIGHTS
    state = read_state(path)
    table, head = state.get("transformer.wte.weight"), state.get("lm_head.weight")
    if config.tied and table is not None and head is not None:
        if not torch.equal(table, head):
            raise CheckpointError(
                f"{path}: 'lm_head.weight' differs from 'transformer.wte.weight', which the config says are tied; "
                f"set tie_word_embeddings in {PUBLIC_CONFIG} to false"
            )
        state = {key: tensor for key, tensor in state.items() if key != "lm_head.weight"}
    check_keys(public_shapes(config), state, path)
    return state


def published_network(folder: Path, config: OmniConfig, dtype: torch.dtype) -> OmniNetwork:
    network = build_network(config, dtype)
    fill(network, from_public(read_public_state(folder, config), config), folder / PUBLIC_WEIGHTS, dtype)
    return network


def own_network(folder: Path, config: OmniConfig, dtype: torch.dtype) -> OmniNetwork:
    network = build_network(config, dtype)
    if config.body_weights is None:
        fill(network, read_tensors(folder / OWN_NETWORK), folder / OWN_NETWORK, dtype)
        return network
    state = {f"body.{key}": tensor for key, tensor in smollm2_state_dict(dtype).items()}
    state["table.weight"] = state.pop("body.embed_tokens.weight")
    fill(network, state, Path(config.body_weights), dtype)
    return network


def open_adapter(folder: Path, config: OmniConfig) -> TtsAdapter | None:
    """The embedded model's TTS adapter; None where the body speaks itself."""
    if config.tts_adapter is None:
        return None
    with weights_unset():
        adapter = TtsAdapter(config.tts_adapter)
    fill(adapter, read_tensors(folder / OWN_ADAPTER), folder / OWN_ADAPTER)
    return adapter.eval()


def open_ears(folder: Path, config: OmniConfig, precision: Precision, device: torch.device) -> Ears | None:
    """The embedded model's ears; None where the body hears itself."""
    if config.audio_route == "body" or config.ears != "whisper-base":
        return None
    ears = Ears.open(dtype=precision.hearing(device), exact=not precision.fused, device=device)
    if (folder / OWN_EARS).exists():
        hear_from_drafts(ears, load_ear_adapter(folder / OWN_EARS).to(device))
    return ears


def open_turn_end(folder: Path, omni: MiniOmni) -> TurnEnd | None:
    """The head that judges whether a question is over; None in checkpoints without one."""
    path = folder / OWN_TURN_END
    if omni.chat is None or omni.tokenizer is None or not path.exists():
        return None
    weights = read_tensors(path)
    check_keys(TurnEnd.shapes(omni.config.ears_width), weights, path)
    return TurnEnd(omni.network, omni.tokenizer, {key: tensor.float() for key, tensor in weights.items()})


def open_public_ears(folder: Path, config: OmniConfig, precision: Precision, device: torch.device) -> Features | None:
    """Whisper's encoder from openai-whisper's own file, or Whisper base's from its wheel; None when there is none."""
    path = folder / PUBLIC_EARS
    dtype, exact = precision.hearing(device), not precision.fused
    if config.ears == "whisper-base":
        return PublishedEars(StateEncoder(whisper_base().encoder.to(device), dtype), exact).features
    if not path.is_file():
        log.warning("no ears: %s has no %s; questions can be typed only", folder, PUBLIC_EARS)
        return None
    saved = read_pickle(path)
    if not isinstance(saved, dict) or not {"dims", "model_state_dict"} <= saved.keys():
        raise CheckpointError(f"{path} has no 'dims' and 'model_state_dict'; give openai-whisper's own {PUBLIC_EARS}")
    try:
        encoder = whisper_encoder(ModelDimensions(**saved["dims"]))
    except TypeError as error:
        raise CheckpointError(f"{path}: 'dims' are not Whisper's ({error}); give its own {PUBLIC_EARS}") from error
    prefix = "encoder."
    state = {key.removeprefix(prefix): t for key, t in saved["model_state_dict"].items() if key.startswith(prefix)}
    fill(encoder, state, path, torch.float32)
    ears = PublishedEars(StateEncoder(encoder.to(device), dtype), exact)
    if ears.width != config.ears_width:
        raise CheckpointError(
            f"{path}: the encoder is {ears.width} wide, the model's adapter reads {config.ears_width}; "
            "give the Whisper that the model was trained with"
        )
    return ears.features


def open_mouth(folder: Path, config: OmniConfig) -> SnacDecoder | None:
    """The embedded model's mouth where the config has its sizes, else SNAC."""
    if config.mouth is None:
        return open_snac(folder) if config.audio_route == "body" or (folder / SNAC_FOLDER).is_dir() else None
    with weights_unset():
        mouth = Mouth(config.mouth)
    fill(mouth, read_tensors(folder / OWN_MOUTH), folder / OWN_MOUTH)
    return MouthDecoder(mouth)


def open_snac(folder: Path) -> PublishedSnac | None:
    """SNAC from the checkpoint's folder, else from the hub, else None."""
    place = folder / SNAC_FOLDER
    if not place.is_dir():
        try:
            place = Path(huggingface_hub.snapshot_download(SNAC_ID))
        except (OSError, ValueError) as error:
            log.warning(
                "no mouth: %s has no %s, and %s cannot be fetched (%s); answers will be text only",
                folder, SNAC_FOLDER, SNAC_ID, error,
            )  # fmt: skip
            return None
    path = place / SNAC_CONFIG
    try:
        snac = build_snac(read_json(path))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: no sizes of SNAC ({error}); fetch {SNAC_ID} again") from error
    fill(snac, read_state(place / SNAC_WEIGHTS), place / SNAC_WEIGHTS)
    return PublishedSnac(snac)


# -- saving ---------------------------------------------------------------------------------------------------------
def write_own(folder: Path, config: OmniConfig, state: dict[str, Tensor] | None) -> None:
    """`config.json` and, unless the config names where they come from, the language model's weights."""
    folder.mkdir(parents=True, exist_ok=True)
    if state is not None:
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, folder / OWN_NETWORK)
    (folder / OWN_CONFIG).write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")


def save(omni: MiniOmni, folder: Path) -> None:
    """Write a model in our layout: everything of it that was not read from a wheel, from `small.pt` or from SNAC.

    `CheckpointError` when it was opened for speed (by the name of a number format), which keeps no exact weights.
    """
    config = omni.config
    state = dict(omni.network.state_dict())
    if config.body_weights is None:
        if shapes_of(state.items()) != shapes_of(build_network(config, torch.bfloat16).state_dict().items()):
            raise CheckpointError("the model was opened in a quick format; open it with dtype=torch.float32 to save it")
        write_own(folder, config, state)
    else:
        write_own(folder, config, None)
    if omni.adapter is not None:
        save_file({key: t.contiguous() for key, t in omni.adapter.state_dict().items()}, folder / OWN_ADAPTER)
    if isinstance(omni.mouth, MouthDecoder):
        save_file({key: t.contiguous() for key, t in omni.mouth.mouth.state_dict().items()}, folder / OWN_MOUTH)
    if omni.turn_end is not None:
        save_file(omni.turn_end.weights, folder / OWN_TURN_END)
    if omni.tokenizer is not None:
        omni.tokenizer.save(str(folder / TOKENIZER))


def convert(source: Path, target: Path) -> None:
    """Write the model in `source` to `target` in the other layout, weights bit for bit as they are.

    Tokenizer, ears and SNAC are copied beside it.
    """
    if source.resolve() == target.resolve():
        raise CheckpointError(f"{target} is the source itself; give another folder")
    config = read_config(source)
    if config.audio_route != "body":
        raise CheckpointError(f"{source}: the published layout has no place for a {config.audio_route} model")
    if config.embedding_scale != 1 or config.mouth is not None or config.body["model_type"] != "qwen2":
        raise CheckpointError(
            f"{source}: the published layout has no place for a grafted model; `python -m server --model {source}` "
            "opens it as it is"
        )
    if is_published(source):
        write_own(target, config, from_public(read_public_state(source, config), config))
    else:
        state = read_tensors(source / OWN_NETWORK)
        check_keys(shapes_of(build_network(config, torch.bfloat16).state_dict().items()), state, source / OWN_NETWORK)
        public = to_public(state, config)
        if config.tied:
            public["lm_head.weight"] = public["transformer.wte.weight"]
        target.mkdir(parents=True, exist_ok=True)
        torch.save(public, target / PUBLIC_WEIGHTS)
        (target / PUBLIC_CONFIG).write_text(yaml.safe_dump(config.to_public()), encoding="utf-8")
    for name in _BESIDE:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        elif (source / name).is_file():
            shutil.copy2(source / name, target / name)


def main() -> None:
    parser = argparse.ArgumentParser("python -m model.checkpoint", description="Convert between the two layouts.")
    parser.add_argument("command", choices=["convert"])
    parser.add_argument("source", help="folder or hub id of a checkpoint in either layout")
    parser.add_argument("target", type=Path, help="folder to write; the layout is the other one")
    options = parser.parse_args()
    try:
        convert(find(options.source), options.target)
    except CheckpointError as error:
        parser.exit(2, f"python -m model.checkpoint: {error}\n")


if __name__ == "__main__":
    main()
