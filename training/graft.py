"""Gives any decoder-only language model of `transformers` ears and a mouth: the checkpoint that training begins with.

What the model writes to a typed question stays what it was, token for token; that is checked before anything is
written. `--route tts_adapter` leaves the body alone and speaks its text (with `--mouth embedded` the embedded model's
own voice does so at once, untrained or not). `--route body` is the paper's: audio tokens through the body, its table
and head grown by new rows that training fills.

    python -m training.graft --body HuggingFaceTB/SmolLM2-360M-Instruct OUT
    python -m training.graft --body some-model.Q4_K_M.gguf OUT
    python -m training.graft --body Qwen/Qwen2-0.5B --route body --ears whisper-small --mouth snac_24khz OUT
    python -m server --model OUT
"""

from __future__ import annotations

import argparse
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from model.checkpoint import TOKENIZER, build_network, save, write_own
from model.checkpoint_language import GGUF, language_fields, with_language
from model.config import OmniConfig
from model.network import OmniNetwork, layer_kinds, sliding_window
from model.omni import MiniOmni
from model.request import OmniError
from model.vocabulary import AUDIO_LAYERS, STREAMS, Vocabulary
from model.weights.language_model import LanguageModel
from training.gguf_body import open_gguf, tokenizer_of
from training.graft_body import Body, GraftError, body_fields, open_body, short
from training.graft_parts import ears_width, mouth_config, write_ears, write_mouth

Route = Literal["body", "tts_adapter"]


def graft_config(body: Body, route: Route, mouth: OmniConfig, codes: int, post_adapter_layers: int) -> OmniConfig:
    """The grafted model's description; `mouth` brings the sizes of mouth and TTS adapter."""
    settings, table = body.model.config, body.model.get_input_embeddings()
    scale = float(getattr(table, "embed_scale", 1.0))
    words = int(table.weight.shape[0])
    if route == "body":
        vocabulary = Vocabulary(
            text=words, codes=codes, own_end=body.ends[0], own_input=body.begin, own_answer=body.answer
        )
    else:
        vocabulary = Vocabulary(text=words, text_specials=0, codes=0, code_specials=0)
    return OmniConfig(
        body=body_fields(settings),
        audio_route=route,
        vocabulary=vocabulary,
        tied=body.model.get_output_embeddings().weight is table.weight,
        post_adapter_layers=post_adapter_layers,
        tts_adapter=mouth.tts_adapter if route == "tts_adapter" else None,
        mouth=mouth.mouth,
        window=min(2048, int(getattr(settings, "max_position_embeddings", None) or 2048)),
        embedding_scale=scale * (STREAMS if route == "body" else 1),
        logit_scale=_logit_scale(settings),
        logit_softcap=getattr(settings, "final_logit_softcapping", None),
        ends=body.ends,
        chat=body.chat,
    )


def _logit_scale(settings: Any) -> float:
    if scale := getattr(settings, "logit_scale", None):
        return float(scale)
    return 1 / float(getattr(settings, "logits_scaling", None) or 1)


def grow(weight: Tensor, vocabulary: Vocabulary, share: float, pads: bool) -> Tensor:
    """A table or head (words, width) → with rows for the specials and for seven layers of audio.

    Specials of the text are the mean of all words, which is never the likeliest word. Audio rows are drawn with the
    words' deviation times `share`. With `pads`, padded audio is zero: beside a word it changes nothing.
    """
    words = weight.float()
    random = torch.Generator().manual_seed(0)
    specials = words.mean(0).expand(vocabulary.text_specials, -1)
    drawn = torch.randn(AUDIO_LAYERS, vocabulary.layer_size, words.shape[1], generator=random)
    drawn *= share * words.std(0)
    if pads:
        drawn[:, vocabulary.pad_audio] = 0
    return torch.cat([words, specials, drawn.flatten(0, 1)]).to(weight.dtype)


def make_network(body: Body, config: OmniConfig) -> OmniNetwork:
    """The body's weights in our network, new parts drawn."""
    model, vocabulary = body.model, config.vocabulary
    table, head = model.get_input_embeddings().weight.detach(), model.get_output_embeddings().weight.detach()
    if config.audio_route == "body":
        # as input, the seven layers of a position together weigh as much as its word
        table = grow(table, vocabulary, 1 / math.sqrt(AUDIO_LAYERS), pads=True)
        head = grow(head, vocabulary, 1.0, pads=False)
    decoder = model.get_decoder()
    name = next(name for name, module in decoder.named_modules() if module is decoder.get_input_embeddings())
    state = {f"body.{key}": t for key, t in decoder.state_dict().items() if key != f"{name}.weight"}
    state["table.weight"] = table
    if not config.tied:
        state["head.weight"] = head
    network = build_network(config, table.dtype)
    torch.manual_seed(0)
    for part in (network.adapter, network.post_adapter):
        for module in part.modules() if part is not None else ():
            if isinstance(module, nn.Linear):
                module.reset_parameters()
    if network.post_adapter is not None:
        _copy_last_layers(network, state)
    missing, unknown = network.load_state_dict(state, strict=False)
    new = [key for key in missing if not key.startswith(("adapter.", "post_adapter."))]
    if new or unknown:
        raise GraftError(f"the body's weights do not fit its configuration: {(new + unknown)[0]!r}; save it again")
    return network.eval()


def _copy_last_layers(network: OmniNetwork, state: dict[str, Tensor]) -> None:
    """A post-adapter begins as the body's last layers."""
    own, count = int(network.config.body["num_hidden_layers"]), network.config.post_adapter_layers
    if "body.norm.weight" not in state:
        raise GraftError(f"{network.config.body['model_type']} bodies take no post-adapter; leave it out")
    state["post_adapter.body.norm.weight"] = state["body.norm.weight"].clone()
    for layer in range(count):
        source = f"body.layers.{own - count + layer}."
        state |= {
            f"post_adapter.body.layers.{layer}.{key.removeprefix(source)}": tensor.clone()
            for key, tensor in list(state.items())
            if key.startswith(source)
        }


@torch.inference_mode()
def check_same(body: Body, network: OmniNetwork) -> None:
    """The grafted network writes as the model did: `GraftError` where logits differ.

    In one piece and then token by token, over more positions than a sliding layer sees.
    """
    window = sliding_window(network.body) if "sliding_attention" in layer_kinds(network.body) else 0
    length = min(32 + min(window or 0, 1024), network.config.window)
    ids = torch.randint(network.config.vocabulary.text, (1, length), generator=torch.Generator().manual_seed(0))
    wanted = body.model(ids).logits[0].float()
    put = network.config.vocabulary.padded(ids) if network.config.audio_route == "body" else ids
    embedded, cache, slot = network.embed(put), network.new_cache(1, length), torch.tensor([0])
    places = torch.arange(length)[None]
    pieces = [slice(0, length - 8), *(slice(n, n + 1) for n in range(length - 8, length))]
    hidden = torch.cat([network(embedded[:, piece], places[:, piece], slot, cache) for piece in pieces], 1)
    network.train()  # its ends are told apart
    found = network.text_logits(hidden)[0, :, : wanted.shape[1]]
    network.eval()
    apart = float((found - wanted).abs().max() / wanted.std())
    if not apart < (1e-3 if wanted.dtype == embedded.dtype else 0.1):
        raise GraftError(
            f"grafted, this {network.config.body['model_type']} model would write otherwise than it did: logits differ "
            f"by {apart:.2g} of their deviation. It does something between words that the server's cache does not "
            "know (state-space layers, shared or chunked attention, a head of its own kind); choose another body"
        )


def graft(
    body: Body,
    out: Path,
    route: Route = "tts_adapter",
    ears: str = "whisper-base",
    mouth: str = "embedded",
    post_adapter_layers: int = 0,
) -> OmniConfig:
    """Write the grafted checkpoint in our layout to the folder `out`. `GraftError` where it cannot be."""
    if route == "tts_adapter" and body.chat is None:
        raise GraftError(
            "this body has no chat template, and the tts_adapter route talks in turns; choose a body that was "
            "trained to chat, give --chat-template FILE, or --route body"
        )
    if route == "tts_adapter" and post_adapter_layers:
        raise GraftError("a post-adapter speaks on --route body; leave it out, or choose that route")
    sizes, codes = mouth_config(mouth)
    width = ears_width(ears, route)
    config = graft_config(body, route, sizes, codes, post_adapter_layers)
    config = replace(config, ears="whisper-base" if ears == "whisper-base" else "whisper-small", ears_width=width)
    try:
        network = make_network(body, config)
        check_same(body, network)
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise GraftError(
            f"{config.body['model_type']} models do not run over the server's cache ({short(error)}); "
            "choose another body"
        ) from error
    out.mkdir(parents=True, exist_ok=True)
    write_ears(ears, out)
    save(MiniOmni(config, network, body.tokenizer), out)
    write_mouth(config, mouth, out)
    return config


def graft_gguf(
    model: LanguageModel, path: Path, out: Path, ears: str = "whisper-base", mouth: str = "embedded"
) -> OmniConfig:
    """Write a checkpoint of route tts_adapter around a GGUF file, which is copied and served as it is.

    Its chat template and the tokens that end its text come with it. `GraftError` where it cannot be.
    """
    sizes, _ = mouth_config(mouth)
    width = ears_width(ears, "tts_adapter")
    spoken = OmniConfig(
        body={},
        audio_route="tts_adapter",
        ears="whisper-base",
        ears_width=width,
        tts_adapter=sizes.tts_adapter,
        mouth=sizes.mouth,
        body_weights=f"body{GGUF}",
    )
    config = with_language(spoken, language_fields(model, text=True), out)
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, out / f"body{GGUF}")
    write_own(out, config, None)
    tokenizer_of(model).save(str(out / TOKENIZER))
    write_mouth(config, mouth, out)
    return config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the checkpoint to write")
    parser.add_argument(
        "--body", required=True, help="folder or hub id of a causal language model of transformers, or a GGUF file"
    )
    parser.add_argument("--route", choices=["tts_adapter", "body"], default="tts_adapter")
    parser.add_argument("--ears", default="whisper-base", help="whisper-base, whisper-small, or openai-whisper's file")
    parser.add_argument("--mouth", default="embedded", help="embedded, or a folder of SNAC at 24 kHz")
    parser.add_argument("--chat-template", type=Path, help="Jinja file, for a body that brings no chat template")
    parser.add_argument("--post-adapter-layers", type=int, default=0, help="blocks that speak (paper: 6)")
    options = parser.parse_args()
    template = options.chat_template.read_text(encoding="utf-8") if options.chat_template else None
    try:
        if options.body.endswith(GGUF) and options.route == "tts_adapter" and not options.post_adapter_layers:
            path = Path(options.body)
            graft_gguf(open_gguf(path, template), path, options.out, options.ears, options.mouth)
        else:
            body = open_body(options.body, template)
            graft(body, options.out, options.route, options.ears, options.mouth, options.post_adapter_layers)
    except (GraftError, OmniError) as error:
        parser.exit(2, f"python -m training.graft: {error}\n")
    size = sum(file.stat().st_size for file in options.out.rglob("*") if file.is_file())
    print(f"{options.out}: {size / 1e6:.0f} MB. Talk to it: python -m server --model {options.out}")


if __name__ == "__main__":
    main()
