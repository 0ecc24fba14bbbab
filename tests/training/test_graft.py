"""Grafting: any decoder writes afterwards what it wrote before, on both speech routes, and opens as a checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from snac import SNAC
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, T5Config

from model.checkpoint import TOKENIZER, CheckpointError, convert, own_network, read_config
from model.checkpoint_files import read_tokenizer
from model.lm.defaults import EXAMPLES, SYSTEM_PROMPT, ChatDefaults
from model.omni import MiniOmni
from model.request import AudioChunk, Done, Request, Turn
from model.sampling import SamplingParams
from model.snac_mouth import SNAC_24KHZ
from model.tts_adapter import TtsAdapter
from model.vocabulary import AUDIO_LAYERS, Task
from model.weights.errors import WeightsError
from tests.model.weights import gguf_files
from tests.model.weights.gguf_files import CHATML, CONTROL, LLAMA3, Shape
from training.coder import open_coder
from training.data.texts import OPENINGS
from training.gguf_body import causal_model, open_gguf
from training.graft import graft, graft_gguf
from training.graft_body import Body, GraftError, open_body

GEMMA = (
    "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PHI3 = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
MARKS = {
    CHATML: list(CONTROL[CHATML]),
    LLAMA3: list(CONTROL[LLAMA3]),
    GEMMA: ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"],
    PHI3: ["<s>", "<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"],
}


@dataclass(frozen=True)
class Family:
    """A shape that some real model has, small."""

    model_type: str
    template: str
    bos: str | None
    ends: tuple[str, ...]
    tied: bool
    fields: dict[str, Any]


TWO_BASES = {
    "full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
}
FAMILIES = {
    "llama": Family("llama", LLAMA3, "<|begin_of_text|>", ("<|end_of_text|>", "<|eot_id|>"), False, {
        "rope_parameters": {
            "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
        }}),
    "qwen2": Family("qwen2", CHATML, None, ("<|im_end|>",), True, {"rope_theta": 1_000_000.0}),
    "qwen3": Family("qwen3", CHATML, None, ("<|im_end|>", "<|endoftext|>"), False, {"head_dim": 16}),
    "gemma3": Family("gemma3_text", GEMMA, "<bos>", ("<eos>", "<end_of_turn>"), True, {
        "head_dim": 16, "sliding_window": 12, "query_pre_attn_scalar": 16, "rope_parameters": TWO_BASES,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    }),
    "gemma2": Family("gemma2", GEMMA, "<bos>", ("<eos>", "<end_of_turn>"), True, {
        "head_dim": 16, "sliding_window": 12, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 5.0,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    }),
    "phi3": Family("phi3", PHI3, "<s>", ("<|endoftext|>", "<|end|>", "<|assistant|>"), False, {
        "sliding_window": 12,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
    }),
    "mixtral": Family("mixtral", CHATML, None, ("<|im_end|>",), False, {
        "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None,
    }),
    "granite": Family("granite", CHATML, None, ("<|im_end|>",), True, {
        "embedding_multiplier": 3.0, "logits_scaling": 4.0, "residual_multiplier": 0.7, "attention_multiplier": 0.3,
    }),
    "cohere2": Family("cohere2", CHATML, None, ("<|im_end|>",), True, {"logit_scale": 0.25, "sliding_window": 12}),
}  # fmt: skip
SMALL = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 2048,
}  # fmt: skip
QUESTIONS = ("What is the capital of France?", "Why is the sky blue, and why are leaves green in summer?")


def write_tokenizer(folder: Path, family: Family) -> int:
    """A byte-level tokenizer with the family's marks and template; returns how many words it has."""
    marks = MARKS[family.template]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(
        [*OPENINGS, *QUESTIONS, SYSTEM_PROMPT, *(f"{turn.user} {turn.assistant}" for turn in EXAMPLES)], trainer
    )
    if family.bos:  # as Llama's and Gemma's do
        ids = [(family.bos, made.token_to_id(family.bos))]
        made.post_processor = TemplateProcessing(single=f"{family.bos} $A", special_tokens=ids)
    reader = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=family.bos, eos_token=family.ends[0])
    reader.chat_template = family.template
    reader.save_pretrained(folder)
    return int(made.get_vocab_size())


def write_body(folder: Path, family: Family, rows_beyond: int = 8) -> Path:
    """A seeded model in `transformers`' layout, its table longer than its vocabulary, as real ones are."""
    words = write_tokenizer(folder, family)
    reader = AutoTokenizer.from_pretrained(folder)
    ends = reader.convert_tokens_to_ids(list(family.ends))
    torch.manual_seed(1)
    settings = AutoConfig.for_model(
        family.model_type,
        **SMALL,
        **family.fields,
        vocab_size=words + rows_beyond,
        tie_word_embeddings=family.tied,
        bos_token_id=None if family.bos is None else reader.convert_tokens_to_ids(family.bos),
        eos_token_id=ends,
        pad_token_id=None,
    )
    model = AutoModelForCausalLM.from_config(settings)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:  # far from zero, so that every part decides what is written
                weight.normal_(0, 1.5 / weight.shape[-1] ** 0.5 if "embed" not in name else 0.03)
    model.generation_config.eos_token_id = ends
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Body]:
    folder = tmp_path_factory.mktemp("bodies")
    return {name: open_body(str(write_body(folder / name, family))) for name, family in FAMILIES.items()}


@pytest.fixture(scope="module")
def snac(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("snac") / "snac_24khz"
    folder.mkdir()
    shape = {**SNAC_24KHZ, "encoder_dim": 4, "decoder_dim": 64}
    (folder / "config.json").write_text(json.dumps(shape))
    torch.manual_seed(0)
    torch.save(SNAC(**shape).state_dict(), folder / "pytorch_model.bin")
    return folder


def opened(folder: Path) -> MiniOmni:
    """The checkpoint without ears and mouth, which take long to open and have no part in writing."""
    config = read_config(folder)
    omni = MiniOmni(config, own_network(folder, config, torch.float32), read_tokenizer(folder / TOKENIZER))
    omni.adapter = TtsAdapter(config.tts_adapter) if config.tts_adapter else None
    return omni


def continued(body: Body, ids: list[int], steps: int) -> list[int]:
    """What `transformers` writes after these tokens, greedily, up to where the body ends."""
    prompt = torch.tensor([ids])
    out = body.model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=steps,
        do_sample=False,
        eos_token_id=list(body.ends),
        pad_token_id=0,
    )[0, len(ids) :].tolist()
    ended = next((index for index, token in enumerate(out) if token in body.ends), len(out))
    return [int(token) for token in out[:ended]]


@pytest.mark.parametrize("family", FAMILIES)
def test_in_chat_a_grafted_body_writes_what_it_wrote(family: str, bodies: dict[str, Body], tmp_path: Path) -> None:
    body = bodies[family]
    graft(body, tmp_path)
    omni = opened(tmp_path)
    assert omni.chat
    written: set[int] = set()
    for question in QUESTIONS:
        ids = omni.chat.encode(question, Request(), 1000)
        assert len(ids) > 60  # far more than a sliding layer sees
        wanted = continued(body, ids, 40)
        said = omni.generate_tokens(Task.T1T2, text_ids=torch.tensor(ids), max_steps=40)
        assert said.text.tolist() == wanted
        written |= set(wanted)
    assert len(written) > 3


@pytest.mark.parametrize("family", FAMILIES)
def test_through_the_streams_a_grafted_body_writes_what_it_wrote(
    family: str, bodies: dict[str, Body], tmp_path: Path, snac: Path
) -> None:
    body = bodies[family]
    graft(body, tmp_path, route="body", mouth=str(snac))
    omni = opened(tmp_path)
    ids = omni.encode_text(QUESTIONS[1])
    assert body.begin not in ids
    said = omni.generate_tokens(Task.T1T2, text_ids=torch.tensor(ids), max_steps=40)
    assert said.text.tolist() == continued(body, [body.begin, *ids, body.ends[0], body.answer], 40)
    assert said.text.tolist()


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_the_prompt_is_what_transformers_makes_of_the_template(
    family: str, bodies: dict[str, Body], tmp_path: Path
) -> None:
    write_body(tmp_path / "body", FAMILIES[family])
    graft(bodies[family], tmp_path / "out")
    reader = AutoTokenizer.from_pretrained(tmp_path / "body")
    chat = opened(tmp_path / "out").chat
    assert chat
    request = Request(system_prompt="Be brief.", history=(Turn("One?", "Yes."), Turn("And two?", "")))
    examples = []
    for turn in EXAMPLES:
        examples += [{"role": "user", "content": turn.user}, {"role": "assistant", "content": turn.assistant}]
    messages = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "Yes."}]
    messages += [{"role": "user", "content": "And two?\nThree?"}]
    if family == "llama":
        system = {"role": "system", "content": SYSTEM_PROMPT}
        messages = [system, *examples, {"role": "system", "content": "Be brief."}, *messages]
    else:  # its template knows no system
        messages[0]["content"] = "Be brief.\n\nOne?"
        examples[0]["content"] = f"{SYSTEM_PROMPT}\n\n{examples[0]['content']}"
        messages = [*examples, *messages]
    wanted = reader.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert chat.encode("Three?", request, 1000) == wanted
    short = chat.encode("Three?", request, len(wanted) - 1)
    assert "One?" not in reader.decode(short)
    assert "Three?" in reader.decode(short)


def test_nobody_closes_a_turn_by_what_they_say(bodies: dict[str, Body], tmp_path: Path) -> None:
    graft(bodies["gemma3"], tmp_path)
    omni = opened(tmp_path)
    assert omni.chat
    assert omni.tokenizer
    mark = omni.tokenizer.token_to_id("<end_of_turn>")
    assert omni.chat.encode("Hi<end_of_turn>", Request(), 1000).count(mark) == 1 + len(EXAMPLES) * 2


def test_any_body_speaks_with_the_embedded_voice_at_once(bodies: dict[str, Body], tmp_path: Path) -> None:
    graft(bodies["qwen3"], tmp_path)
    omni = MiniOmni.from_pretrained(tmp_path)
    request = Request(text="Hello", max_tokens=12, max_seconds=2, sampling=SamplingParams(temperature=0.0))
    events = list(omni.generate(request))
    sound = np.concatenate([event.samples for event in events if isinstance(event, AudioChunk)])
    done = events[-1]
    assert isinstance(done, Done)
    assert done.text
    assert len(sound) == round(done.audio_seconds * 24_000) > 0
    assert np.abs(sound).max() > 0.01


@pytest.mark.parametrize("mouth", ["snac", "embedded"])
def test_the_body_route_hears_and_speaks(mouth: str, bodies: dict[str, Body], tmp_path: Path, snac: Path) -> None:
    body = bodies["gemma3"]
    post = 2 if mouth == "snac" else 0
    config = graft(
        body, tmp_path, route="body", mouth=str(snac) if mouth == "snac" else mouth, post_adapter_layers=post
    )
    omni = MiniOmni.from_pretrained(tmp_path, dtype=torch.float32)
    vocabulary = omni.config.vocabulary
    coder = open_coder(tmp_path)
    assert coder
    assert vocabulary.codes == coder.codes == (4096 if mouth == "snac" else 1024)
    assert omni.network.table.weight.shape == (vocabulary.size, config.width)
    assert vocabulary.size == len(body.model.get_input_embeddings().weight) + 64 + AUDIO_LAYERS * vocabulary.layer_size
    question = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    events = list(omni.generate(Request(audio=question, max_tokens=8, max_seconds=1)))
    assert isinstance(events[-1], Done)
    assert any(isinstance(event, AudioChunk) for event in events)
    with pytest.raises(CheckpointError, match="no place for a grafted model"):
        convert(tmp_path, tmp_path / "published")


def test_a_new_voice_for_snac_is_untrained_but_complete(bodies: dict[str, Body], tmp_path: Path, snac: Path) -> None:
    graft(bodies["qwen2"], tmp_path, mouth=str(snac))
    omni = MiniOmni.from_pretrained(tmp_path, dtype=torch.float32)
    assert omni.adapter
    book = torch.load(snac / "pytorch_model.bin", weights_only=True)["quantizer.quantizers.2.codebook.weight"]
    assert torch.equal(omni.adapter.decoder.books[2], book)
    assert omni.mouth is not None


def test_what_cannot_be_grafted_is_told_and_what_to_do(tmp_path: Path, bodies: dict[str, Body]) -> None:
    T5Config(d_model=16).save_pretrained(tmp_path / "t5")
    with pytest.raises(GraftError, match="encoder-decoder"):
        open_body(str(tmp_path / "t5"))
    with pytest.raises(GraftError, match="finds no model there"):
        open_body(str(tmp_path / "nothing"))
    folder = write_body(tmp_path / "mute", FAMILIES["qwen2"])
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(GraftError, match=r"tokenizer\.json"):
        open_body(str(folder))
    with pytest.raises(GraftError, match="SNAC at 24 kHz"):
        graft(bodies["qwen2"], tmp_path / "out", mouth=str(tmp_path))
    with pytest.raises(GraftError, match="whisper-base"):
        graft(bodies["qwen2"], tmp_path / "out", ears="whisper-small")
    base = write_body(tmp_path / "base", FAMILIES["qwen2"])
    (base / "chat_template.jinja").unlink()
    with pytest.raises(GraftError, match="no chat template"):
        graft(open_body(str(base)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_body_in_half_precision_stays_in_it(tmp_path: Path) -> None:
    folder = write_body(tmp_path / "body", FAMILIES["gemma3"])
    body = open_body(str(folder))
    body.model.to(torch.bfloat16).save_pretrained(folder)
    graft(open_body(str(folder)), tmp_path / "out", route="body")
    assert {t.dtype for t in load_file(tmp_path / "out" / "network.safetensors").values()} == {torch.bfloat16}


def test_a_body_that_the_cache_cannot_serve_is_refused(tmp_path: Path) -> None:
    """Mamba keeps a state and no keys: what it would write next cannot be told from a slot."""
    family = Family("mamba", CHATML, None, ("<|im_end|>",), True, {})
    write_tokenizer(tmp_path / "body", family)
    fields = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "eos_token_id": 2}
    AutoModelForCausalLM.from_config(AutoConfig.for_model("mamba", **fields)).save_pretrained(tmp_path / "body")
    with pytest.raises(GraftError, match="choose another body"):
        graft(open_body(str(tmp_path / "body")), tmp_path / "out")


@pytest.mark.parametrize("template", ["chatml", "llama3"])
def test_a_gguf_file_is_grafted_as_it_is(template: str, tmp_path: Path) -> None:
    """Copied, with its own chat template and stop tokens; what it writes is what the file's weights write."""
    shape = Shape("llama", gguf_files.CHATML if template == "chatml" else gguf_files.LLAMA3, ("Q8_0",))
    path = gguf_files.write(tmp_path / "body.gguf", shape)
    model = open_gguf(path)
    config = graft_gguf(model, path, tmp_path / "out")
    assert (tmp_path / "out" / "body.gguf").read_bytes() == path.read_bytes()
    assert (config.chat is None) is (template == "chatml")
    omni = opened(tmp_path / "out")
    assert omni.chat
    assert omni.chat.end == model.ends[0]
    omni.chat.defaults = ChatDefaults(system_prompt="", examples=())  # the file's window is short
    ids = omni.chat.encode("ab", Request(system_prompt="c"), 200)
    wanted = continued(Body(causal_model(model), omni.tokenizer, model.ends, 0, 0, None), ids, 24)
    assert omni.generate_tokens(Task.T1T2, text_ids=torch.tensor(ids), max_steps=24).text.tolist() == wanted


def test_a_gguf_file_can_take_the_body_route(tmp_path: Path) -> None:
    path = gguf_files.write(tmp_path / "body.gguf", Shape("qwen2", kinds=("Q8_0", "Q4_1")))
    body = open_body(str(path))
    assert body.chat is not None
    graft(body, tmp_path / "out", route="body", ears="whisper-base")
    omni = opened(tmp_path / "out")
    assert omni.config.vocabulary.own_end == body.ends[0]
    state = load_file(tmp_path / "out" / "network.safetensors")
    assert torch.equal(state["table.weight"][:8], body.model.get_input_embeddings().weight[:8])


def test_a_gguf_file_that_is_not_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="the architecture is gemma2"):
        open_body(str(gguf_files.write(tmp_path / "body.gguf", Shape("gemma2"))))
