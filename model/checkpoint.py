"""Opens and saves models: the published layout and our own."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import logging
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from whisper.model import ModelDimensions

from model.config import OmniConfig
from model.ears import Ears, PublishedEars, StateEncoder, whisper_encoder
from model.mouth import Mouth, MouthDecoder
from model.network import OmniNetwork
from model.omni import MiniOmni
from model.public_layout import from_public, public_shapes, to_public
from model.request import OmniError
from model.snac_mouth import PublishedSnac
from model.tts_adapter import TtsAdapter
from model.wheels import smollm2_state_dict

log = logging.getLogger(__name__)
EMBEDDED = Path(__file__).resolve().parents[1] / "checkpoints" / "smol-omni"


class CheckpointError(OmniError):
    """A checkpoint cannot be opened; the message names file, key, what was wanted and found, and what to do."""

    code = "checkpoint_error"


@dataclass(frozen=True)
class Precision:
    """How weights are held: their dtype, and whether the body's are int8 with bfloat16 activations."""

    dtype: torch.dtype
    int8: bool = False
    fused: bool = False

    @classmethod
    def of(cls, name: torch.dtype | str, device: torch.device) -> Precision:
        """`auto` is int8 on a CPU and bfloat16 on a GPU; a `torch.dtype` keeps the body as `transformers` made it."""
        if isinstance(name, torch.dtype):
            return cls(name)
        if name == "auto":
            name = "int8" if device.type == "cpu" else "bfloat16"
        known = {
            "float32": cls(torch.float32),
            "bfloat16": cls(torch.bfloat16, fused=True),
            "int8": cls(torch.bfloat16, int8=True, fused=True),
        }
        if name not in known:
            raise CheckpointError(f"dtype {name!r} is unknown; choose auto, {', '.join(known)}")
        return known[name]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file, whole."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; fetch the checkpoint again, all files of it")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged ({error}); fetch it again") from error


def fill(module: nn.Module, state: dict[str, Tensor], file: Path) -> None:
    """Load a state dict, exactly; `CheckpointError` names the first key that is wrong."""
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    check_keys(wanted, state, file)
    module.load_state_dict(state)


def check_keys(wanted: dict[str, tuple[int, ...]], state: dict[str, Tensor], file: Path) -> None:
    """Every wanted key is there with its shape, and no other; `CheckpointError` otherwise."""
    for key, shape in wanted.items():
        if key not in state:
            raise CheckpointError(
                f"{file}: the key {key!r} is missing (wanted shape {shape}); the file is not of this model or not whole"
            )
        if tuple(state[key].shape) != shape:
            raise CheckpointError(
                f"{file}: {key!r} has shape {tuple(state[key].shape)}, wanted {shape}; weights and config do not match"
            )
    if unknown := sorted(set(state) - set(wanted)):
        raise CheckpointError(
            f"{file}: the key {unknown[0]!r} is unknown ({len(unknown)} such); the config describes another model"
        )


def read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        fields: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is not JSON ({error}); fetch it again") from error
    return fields


def open_own(folder: Path, device: torch.device, precision: Precision) -> MiniOmni:
    """Our layout: `config.json`, `tokenizer.json`, and a safetensors file for each trained part."""
    config = OmniConfig.from_dict(read_config(folder))
    dtype = precision.dtype
    network = build_network(config, dtype)
    if config.body_weights is not None:
        state = smollm2_state_dict(dtype)
        renamed = {f"body.{key}": tensor for key, tensor in state.items()}
        renamed["table.weight"] = renamed.pop("body.embed_tokens.weight")
        fill(network, renamed, Path(config.body_weights))
    else:
        fill(network, read_tensors(folder / "network.safetensors"), folder / "network.safetensors")
    omni = MiniOmni(config, network.to(device), read_tokenizer(folder))
    if precision.fused:
        network.fuse(precision.int8)
    if config.tts_adapter is not None:
        adapter = TtsAdapter(config.tts_adapter)
        fill(adapter, read_tensors(folder / "tts_adapter.safetensors"), folder / "tts_adapter.safetensors")
        omni.adapter = adapter.eval()
    if config.mouth is not None:
        mouth = Mouth(config.mouth)
        fill(mouth, read_tensors(folder / "mouth.safetensors"), folder / "mouth.safetensors")
        omni.mouth = MouthDecoder(mouth)
    if config.ears == "whisper-base":
        omni.ears = Ears.open(dtype=dtype, device=device)
    elif (folder / PUBLIC_EARS).is_file():
        omni.features = open_public_ears(folder / PUBLIC_EARS, config, dtype, device).features
    if config.audio_route == "body":
        omni.mouth = open_snac(folder)
    return omni


def build_network(config: OmniConfig, dtype: torch.dtype) -> OmniNetwork:
    """A network of the right shape and dtype, its weights not yet set."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return OmniNetwork(config)
    finally:
        torch.set_default_dtype(before)


# -- the published layout -------------------------------------------------------------------------------------------
PUBLIC_WEIGHTS, PUBLIC_CONFIG, PUBLIC_EARS = "lit_model.pth", "model_config.yaml", "small.pt"
SNAC_ID, SNAC_FOLDER = "hubertsiuzdak/snac_24khz", "snac_24khz"


def read_pickle(path: Path) -> Any:
    """A file of `torch.save`, tensors only: code in it is never run. `CheckpointError` when it is damaged."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; fetch the checkpoint again, all files of it")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or cut short ({error}); fetch it again") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, which is not loaded ({error}); save its weights alone, as a flat dict"
        ) from error


def read_public_config(path: Path) -> OmniConfig:
    """`model_config.yaml`."""
    try:
        fields = yaml.safe_load(path.read_text())
        return OmniConfig.from_public(fields)
    except yaml.YAMLError as error:
        raise CheckpointError(f"{path} is not YAML ({error}); fetch it again") from error
    except KeyError as error:
        raise CheckpointError(f"{path}: the field {error} is missing; fetch the file again") from error


def open_public(folder: Path, device: torch.device, precision: Precision) -> MiniOmni:
    """The published layout: `lit_model.pth`, `model_config.yaml`, `tokenizer.json`, Whisper's `small.pt`; SNAC in
    `snac_24khz/` or from its hub id. Without one of the last three, what needs it is refused when it is asked for."""
    config = read_public_config(folder / PUBLIC_CONFIG)
    path = folder / PUBLIC_WEIGHTS
    state = read_pickle(path)
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{path} is not a flat dict of tensors; save the model's state_dict() alone")
    check_keys(public_shapes(config), state, path)
    network = build_network(config, precision.dtype)
    network.load_state_dict(from_public(state, config))
    omni = MiniOmni(config, network.to(device), read_tokenizer(folder))
    if precision.fused:
        network.fuse(precision.int8)
    if (folder / PUBLIC_EARS).is_file():
        omni.features = open_public_ears(folder / PUBLIC_EARS, config, precision.dtype, device).features
    omni.mouth = open_snac(folder)
    return omni


def open_public_ears(path: Path, config: OmniConfig, dtype: torch.dtype, device: torch.device) -> PublishedEars:
    """Whisper's encoder from openai-whisper's own file."""
    saved = read_pickle(path)
    if not isinstance(saved, dict) or not {"dims", "model_state_dict"} <= saved.keys():
        raise CheckpointError(f"{path} has no 'dims' and 'model_state_dict'; give openai-whisper's own small.pt")
    encoder = whisper_encoder(ModelDimensions(**saved["dims"]))
    prefix = "encoder."
    state = {key.removeprefix(prefix): t for key, t in saved["model_state_dict"].items() if key.startswith(prefix)}
    wanted = {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    check_keys(wanted, state, path)
    encoder.load_state_dict({key: tensor.float() for key, tensor in state.items()}, assign=True)
    ears = PublishedEars(StateEncoder(encoder.to(device), dtype))
    if ears.width != config.ears_width:
        raise CheckpointError(
            f"{path}: the encoder is {ears.width} wide, the model's adapter reads {config.ears_width}"
        )
    return ears


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
    return PublishedSnac.from_folder(place)


def read_tokenizer(folder: Path) -> Tokenizer | None:
    path = folder / "tokenizer.json"
    return Tokenizer.from_file(str(path)) if path.is_file() else None


# -- both -----------------------------------------------------------------------------------------------------------
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


def open_model(path: str | Path | None, device: torch.device, dtype: torch.dtype | str) -> MiniOmni:
    """Open a model in either layout; None: the embedded one."""
    folder = EMBEDDED if path is None else find(path)
    precision = Precision.of(dtype, device)
    try:
        if (folder / "config.json").is_file():
            return open_own(folder, device, precision)
        if (folder / PUBLIC_CONFIG).is_file():
            return open_public(folder, device, precision)
    finally:
        give_back_memory()
    raise CheckpointError(f"{folder} has neither config.json (our layout) nor {PUBLIC_CONFIG} (the published one)")


def give_back_memory() -> None:
    """Weights are read in one form and kept in another; glibc keeps what is freed in between unless told otherwise."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


# -- saving ---------------------------------------------------------------------------------------------------------
_BESIDE = ("tokenizer.json", "tokenizer_config.json", PUBLIC_EARS, SNAC_FOLDER)


def convert(source: Path, target: Path) -> None:
    """Write the model in `source` to `target` in the other layout, weights bit for bit as they are.

    Tokenizer, ears and SNAC are copied beside it.
    """
    target.mkdir(parents=True, exist_ok=True)
    if (source / PUBLIC_CONFIG).is_file():
        config = read_public_config(source / PUBLIC_CONFIG)
        state = read_pickle(source / PUBLIC_WEIGHTS)
        check_keys(public_shapes(config), state, source / PUBLIC_WEIGHTS)
        save_file(
            {key: t.contiguous() for key, t in from_public(state, config).items()}, target / "network.safetensors"
        )
        (target / "config.json").write_text(json.dumps(config.to_dict(), indent=2) + "\n")
    else:
        config = OmniConfig.from_dict(read_config(source))
        if config.audio_route != "body":
            raise CheckpointError(f"{source}: the published layout has no place for a {config.audio_route} model")
        state = read_tensors(source / "network.safetensors")
        torch.save(to_public(state, config), target / PUBLIC_WEIGHTS)
        (target / PUBLIC_CONFIG).write_text(yaml.safe_dump(config.to_public()))
    for name in _BESIDE:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        elif (source / name).is_file():
            shutil.copy2(source / name, target / name)


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert a checkpoint between the published layout and ours.")
    parser.add_argument("command", choices=["convert"])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    try:
        convert(options.source, options.target)
    except CheckpointError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
