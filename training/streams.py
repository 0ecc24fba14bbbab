"""The network as it is trained: whole sequences at once, losses of the eight streams, and what of it is trained."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network import OmniNetwork
from model.vocabulary import AUDIO_LAYERS, STREAMS
from training.loop import mixed_precision
from training.tasks import IGNORE, Batch

Part = Literal["ears", "streams", "tts_adapter", "body"]
"""`ears`: the adapter from encoder states to the body. `streams`: the rows of table and head that the graft added,
specials and audio tokens. `tts_adapter`: the blocks after the body that speak. `body`: the language model itself."""


class StreamLosses(nn.Module):
    """`OmniNetwork` over whole examples: sums of cross-entropy, text and seven layers."""

    def __init__(self, network: OmniNetwork, bfloat16: bool) -> None:
        super().__init__()
        self.network, self.mixed = network, bfloat16

    def embed(self, batch: Batch) -> Tensor:
        """→ (rows, positions, width): the mean of eight rows of the table; ears stand in for seven of them."""
        network = self.network
        rows = network.table(batch.ids)
        embedded: Tensor = rows.mean(-2)
        if not len(batch.states):
            return embedded
        assert network.adapter is not None
        heard = network.adapter(batch.states).to(rows.dtype)
        mean = (AUDIO_LAYERS * heard + rows[batch.heard][:, -1]) / STREAMS
        return embedded.index_put((batch.heard,), mean)

    def hidden(self, embedded: Tensor) -> Tensor:
        """As `OmniNetwork.forward`, without a cache: with a post-adapter, its states come after the body's."""
        network = self.network
        if network.post_adapter is None:
            return self._run(network.body, embedded)
        before_norm: list[Tensor] = []
        norm: nn.Module = network.body.norm  # type: ignore[assignment]
        hook = norm.register_forward_pre_hook(lambda _, inputs: before_norm.append(inputs[0]))
        try:
            hidden = self._run(network.body, embedded)
        finally:
            hook.remove()
        return torch.cat([hidden, self._run(network.post_adapter.body, before_norm[0])], -1)

    @staticmethod
    def _run(body: nn.Module, embedded: Tensor) -> Tensor:
        hidden: Tensor = body(inputs_embeds=embedded, use_cache=False).last_hidden_state
        return hidden

    def forward(self, batch: Batch) -> Tensor:
        """→ sums over all targets (8,), float32: text, then the seven layers."""
        with mixed_precision(batch.ids.device, self.mixed):
            hidden = self.hidden(self.embed(batch))
            writes, speaks = batch.text != IGNORE, batch.audio[..., 0] != IGNORE
            text = self.network.text_logits(hidden[writes])
            audio = self.network.audio_logits(hidden[speaks])
        sums = [F.cross_entropy(text, batch.text[writes], reduction="sum")]
        targets = batch.audio[speaks]
        sums += [F.cross_entropy(audio[:, layer], targets[:, layer], reduction="sum") for layer in range(AUDIO_LAYERS)]
        return torch.stack(sums)


def choose_trained(network: OmniNetwork, parts: set[Part]) -> None:
    """Freeze everything but `parts`.

    Table and head are one matrix each, part old words, part new rows: of a matrix that is trained in part, the
    gradient of the other rows is zeroed, and the optimizer must not decay it (`parameter_groups`).
    """
    network.requires_grad_(False)
    if "ears" in parts:
        if network.adapter is None:
            raise ValueError("this network has no ear adapter to train (audio_route is not 'body')")
        network.adapter.requires_grad_(True)
    if "tts_adapter" in parts:
        if network.post_adapter is None:
            raise ValueError("this network has no post-adapter to train (post_adapter_layers is 0)")
        network.post_adapter.requires_grad_(True)
    if "body" in parts:
        network.body.requires_grad_(True)
    matrices = [network.table.weight, *([network.head.weight] if network.head is not None else [])]
    for matrix in matrices:
        if parts & {"streams", "body"}:
            matrix.requires_grad_(True)
        if len(parts & {"streams", "body"}) == 1:
            known = slice(0, network.config.vocabulary.text)
            frozen = known if "streams" in parts else slice(known.stop, None)
            matrix.register_hook(lambda gradient, rows=frozen: gradient.index_fill(0, _rows(gradient, rows), 0))


def _rows(matrix: Tensor, rows: slice) -> Tensor:
    return torch.arange(len(matrix), device=matrix.device)[rows]


def parameter_groups(network: OmniNetwork, weight_decay: float) -> list[dict[str, object]]:
    """Trained parameters for the optimizer: matrices decay; norms, biases, table and head do not."""
    tables = {"table.weight", "head.weight"}
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    decayed = [p for name, p in trained if p.ndim > 1 and name not in tables]
    kept = [p for name, p in trained if p.ndim <= 1 or name in tables]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
