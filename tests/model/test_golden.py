"""What the published code computes, we compute: every array of `golden.npz`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.mouth import frames_to_books
from model.omni import MiniOmni
from model.public_layout import from_public, public_shapes, to_public
from model.sampling import SamplingParams
from model.vocabulary import Task, build_prompt, undelay
from tests.model import golden as reference

Golden = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return reference.load()


@pytest.fixture(scope="module")
def omni(golden: Golden) -> MiniOmni:
    return MiniOmni.from_public(reference.fields(golden), reference.weights(golden))


def test_keys_and_shapes_are_the_published_ones(golden: Golden, omni: MiniOmni) -> None:
    state = reference.weights(golden)
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == public_shapes(omni.config)


def test_weights_go_there_and_back_bit_for_bit(golden: Golden, omni: MiniOmni) -> None:
    state = reference.weights(golden)
    back = to_public(from_public(state, omni.config), omni.config)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


def test_prefill_logits(golden: Golden, omni: MiniOmni) -> None:
    network, features = omni.network, torch.from_numpy(golden["audio_features"])
    prompts = [build_prompt(omni.config.vocabulary, task, features.shape[1]) for task in (Task.A1A2, Task.A1T2)]
    with torch.inference_mode():
        embedded = torch.cat([network.embed_prompt(prompt, features) for prompt in prompts])
        positions = torch.arange(embedded.shape[1]).expand(2, -1)
        hidden = network(embedded, positions, torch.tensor([2, 0]), network.new_cache(3, 64))[:, -1]
        text, audio = network.text_logits(hidden), network.audio_logits(hidden)
    np.testing.assert_allclose(audio.numpy(), golden["prefill_audio_logits"], atol=1e-4)
    np.testing.assert_allclose(text[:, :2048].numpy(), golden["prefill_text_logits_head"], atol=1e-4)
    assert text.argmax(-1).tolist() == golden["prefill_text_argmax"].tolist()


@pytest.mark.parametrize(
    ("name", "task", "batch_parallel"),
    [
        ("tokens_A1A2_batch", Task.A1A2, True),
        ("tokens_A1A2", Task.A1A2, False),
        ("tokens_T1A2", Task.T1A2, False),
        ("tokens_A1T2", Task.A1T2, False),
        ("tokens_A1T1", Task.A1T1, False),
        ("tokens_T1T2", Task.T1T2, False),
    ],
)
def test_every_token(golden: Golden, omni: MiniOmni, name: str, task: Task, batch_parallel: bool) -> None:
    tokens = omni.generate_tokens(
        task,
        audio_features=torch.from_numpy(golden["audio_features"]) if task.hears else None,
        text_ids=None if task.hears else torch.from_numpy(golden["text"]),
        batch_parallel=batch_parallel,
        sampling=SamplingParams(top_k=1),
        max_steps=64,
    )
    wanted = golden[name]
    if wanted.ndim == 1:
        assert tokens.text.tolist() == wanted.tolist()
        assert tokens.audio.shape == (7, 0)
    else:
        assert tokens.audio.tolist() == wanted[:7].tolist()
        assert tokens.text.tolist() == wanted[7].tolist()


def test_snac_books_of_the_answer(golden: Golden, omni: MiniOmni) -> None:
    frames = undelay(torch.from_numpy(golden["tokens_A1A2_batch"][:7].T.copy()))
    for number, book in enumerate(frames_to_books(frames)):
        assert book.tolist() == golden[f"codes{number}"][0].tolist()
