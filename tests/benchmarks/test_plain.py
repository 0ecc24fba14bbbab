"""The plain way says what the published code says: a comparison with it is one of speed alone."""

from __future__ import annotations

import torch
from snac import SNAC
from whisper.model import AudioEncoder

from benchmarks.plain import PlainOmni
from model.config import OmniConfig
from model.snac_mouth import SNAC_24KHZ
from tests.model import golden as reference


def test_the_plain_way_says_what_the_published_code_says() -> None:
    golden = reference.load()
    config = OmniConfig.from_public(reference.fields(golden))
    snac = SNAC(**{**SNAC_24KHZ, "encoder_dim": 4, "decoder_dim": 64})
    plain = PlainOmni(config, reference.weights(golden), AudioEncoder(80, 8, 48, 2, 1), snac)
    wanted = golden["tokens_A1A2_batch"]
    logits = plain.forward(plain.prompt(torch.from_numpy(golden["audio_features"])))
    vocabulary, ended = config.vocabulary, False
    for step in range(wanted.shape[1]):
        chosen, embedded = plain.step(logits)
        assert chosen[:7] == wanted[:7, step].tolist()
        ended = ended or chosen[7] == vocabulary.end_of_text
        if ended:  # from here on the published code pads the text, the plain way writes on
            break
        assert chosen[7] == int(wanted[7, step])
        logits = plain.forward(embedded)
    assert step > 3
