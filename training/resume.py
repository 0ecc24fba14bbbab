"""Makes the files that training goes on from out of the embedded checkpoint, on a machine that has none of them.

Weights are what was exported (half precision); optimizers and moving averages begin anew.

    python -m training.resume work
    python -m training.data.speech training/texts.jsonl work/speech --hours 30
    python -m training.data.codes work/speech work/mouth.pt work/codes
    python -m training.tts_adapter work/codes work/mouth.pt work/adapter.pt --rate 5e-4
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import torch
from safetensors.torch import load_file

from model.checkpoint import EMBEDDED, OWN_EARS
from model.ear_adapter import load_ear_adapter
from model.mouth import MouthConfig
from model.rounded import load_rounded
from model.tts_adapter import TtsAdapter
from training.codec import Codec, save
from training.coder import CODEC_ENCODER

LOGS = Path(__file__).parents[1] / "docs" / "training"


def steps_done(name: str) -> int:
    """The last step in a training log."""
    with (LOGS / f"{name}.csv").open() as file:
        return int(list(csv.reader(file))[-1][0])


def resume(checkpoint: Path, out: Path) -> None:
    """Write `mouth.pt`, `ears.pt`, `adapter.pt` and `spelling.pt`; files that are there already are left alone."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "mouth.pt").exists():
        codec = Codec(MouthConfig())
        codec.mouth.load_state_dict(load_file(checkpoint / "mouth.safetensors"))
        codec.encoder.load_state_dict(load_rounded(checkpoint / CODEC_ENCODER))
        for ema in codec.ema:
            ema.total = ema.quantizer.codebook.weight.detach().clone()
        save(out / "mouth.pt", codec, steps_done("mouth"))
    if not (out / "ears.pt").exists():
        network = load_ear_adapter(checkpoint / OWN_EARS)
        torch.save({"network": network.state_dict(), "step": steps_done("ears")}, out / "ears.pt")
    adapter = TtsAdapter()
    adapter.load_state_dict(load_file(checkpoint / "tts_adapter.safetensors"))
    if not (out / "adapter.pt").exists():
        torch.save({"adapter": adapter.state_dict(), "step": steps_done("adapter")}, out / "adapter.pt")
    if not (out / "spelling.pt").exists():
        state = {"spelling": adapter.spelling.state_dict(), "step": steps_done("spelling")}
        torch.save(state, out / "spelling.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=EMBEDDED)
    options = parser.parse_args()
    resume(options.checkpoint, options.out)


if __name__ == "__main__":
    main()
