"""Opens and saves models: the published layout and our own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from model.config import OmniConfig
from model.ears import Ears
from model.mouth import Mouth, MouthDecoder
from model.network import OmniNetwork
from model.omni import MiniOmni
from model.request import OmniError
from model.tts_adapter import TtsAdapter
from model.wheels import smollm2_state_dict

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
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json")) if (folder / "tokenizer.json").is_file() else None
    omni = MiniOmni(config, network.to(device), tokenizer)
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
    return omni


def build_network(config: OmniConfig, dtype: torch.dtype) -> OmniNetwork:
    """A network of the right shape and dtype, its weights not yet set."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return OmniNetwork(config)
    finally:
        torch.set_default_dtype(before)


def open_model(path: str | Path | None, device: torch.device, dtype: torch.dtype | str) -> MiniOmni:
    """Open a model in either layout; None: the embedded one."""
    folder = EMBEDDED if path is None else Path(path)
    return open_own(folder, device, Precision.of(dtype, device))
