"""Trains the SNAC tokens of one voice and the mouth that speaks them.

The encoder (log-mel → ConvNeXt) is used in training only. The tokens are SNAC's: three books with strides 4, 2, 1 at
46.9 Hz, found by the `snac` package's own `VectorQuantize`. A run has two phases: first everything is trained on
multi-scale mel losses, then, with `--adversarial`, encoder and books are frozen and a multi-resolution discriminator
polishes the decoder, so codes made in between stay valid.

    python -m training.codec work/speech work/mouth.pt --minutes 20
    python -m training.codec work/speech work/mouth.pt --minutes 30 --adversarial
"""

from __future__ import annotations

import argparse
import math
import random
from pathlib import Path

import librosa
import numpy as np
import torch
import torch.nn.functional as F
from snac.vq import VectorQuantize
from torch import Tensor, nn

from model.convnext import ConvNeXt
from model.mouth import SAMPLE_RATE, SAMPLES_PER_FRAME, STRIDES, Mouth, MouthConfig
from training.data.shards import audio_shards
from training.loop import Curves, Kept, Run, Schedule, descend, save_state

LATENT_HOP = SAMPLES_PER_FRAME // STRIDES[0]
CROP = 8 * SAMPLES_PER_FRAME


class MelEncoder(nn.Module):
    """Samples at 24 kHz → unit-scale latents at 46.9 Hz."""

    filters: Tensor
    window: Tensor

    def __init__(self, latent: int, width: int = 224, hidden: int = 640, blocks: int = 3, n_mels: int = 100) -> None:
        super().__init__()
        filters = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=2048, n_mels=n_mels, fmin=0, fmax=12000)
        self.register_buffer("filters", torch.tensor(filters).float(), persistent=False)
        self.register_buffer("window", torch.hann_window(2048), persistent=False)
        self.enter = nn.Conv1d(n_mels, width, 5, padding=2)
        self.blocks = nn.ModuleList(ConvNeXt(width, hidden, 7) for _ in range(blocks))
        self.leave = nn.Conv1d(width, latent, 1)
        self.norm = nn.LayerNorm(latent)

    def forward(self, samples: Tensor) -> Tensor:
        """(rows, n · 512) → (rows, latent, n)."""
        spectrum = torch.stft(samples, 2048, LATENT_HOP, window=self.window, return_complex=True, center=True)
        mel = self.filters @ spectrum.abs()[..., : samples.shape[-1] // LATENT_HOP]
        x = (mel.clamp(min=1e-4).log() + 5.5) / 2.5  # about zero mean and unit deviation, else all codes collapse
        x = self.enter(x).transpose(1, 2)
        for block in self.blocks:
            x = block(x, torch.ones(1))
        latents: Tensor = self.norm(self.leave(x.transpose(1, 2)).transpose(1, 2)).transpose(1, 2)
        return latents


class EmaQuantizer:
    """Trains one of snac's `VectorQuantize`s on the unit sphere: moving averages, dead codes restarted."""

    def __init__(self, quantizer: VectorQuantize, decay: float = 0.98) -> None:
        self.quantizer, self.decay = quantizer, decay
        quantizer.codebook.weight.requires_grad_(False)
        self.count = torch.ones(quantizer.codebook_size)
        self.total = quantizer.codebook.weight.detach().clone()

    def project(self, residual: Tensor) -> Tensor:
        """(rows, latent, time) → (rows, codebook_dim, time / stride) on the unit sphere."""
        q = self.quantizer
        pooled = F.avg_pool1d(residual, q.stride, q.stride) if q.stride > 1 else residual
        return F.normalize(q.in_proj(pooled), dim=1)

    def expand(self, z: Tensor) -> Tensor:
        return self.quantizer.out_proj(z).repeat_interleave(self.quantizer.stride, -1)

    def start(self, unit: Tensor) -> None:
        """Draw the book from projected data."""
        z = unit.transpose(1, 2).reshape(-1, unit.shape[1])
        picked = z[torch.randint(len(z), (self.quantizer.codebook_size,))]
        book = F.normalize(picked + 0.02 * torch.randn_like(picked), dim=1)
        self.quantizer.codebook.weight.data.copy_(book)
        self.count.fill_(1)
        self.total.copy_(book)

    @torch.no_grad()
    def update(self, unit: Tensor, indices: Tensor) -> None:
        z, index = unit.transpose(1, 2).reshape(-1, unit.shape[1]), indices.flatten()
        count = torch.bincount(index, minlength=len(self.count)).float()
        total = torch.zeros_like(self.total).index_add_(0, index, z)
        self.count.mul_(self.decay).add_(count, alpha=1 - self.decay)
        self.total.mul_(self.decay).add_(total, alpha=1 - self.decay)
        book = self.quantizer.codebook.weight.data
        book.copy_(F.normalize(self.total, dim=1))
        dead = (self.count < 0.003).nonzero().flatten()
        if len(dead):
            fresh = z[torch.randint(len(z), (len(dead),))]
            self.total[dead], self.count[dead], book[dead] = fresh * 0.05, 0.05, fresh

    def state(self) -> dict[str, Tensor]:
        return {"count": self.count, "total": self.total}


class Codec(nn.Module):
    """Encoder and mouth, as they are trained together."""

    def __init__(self, config: MouthConfig) -> None:
        super().__init__()
        self.encoder = MelEncoder(config.latent)
        self.mouth = Mouth(config)
        self.ema = [EmaQuantizer(q) for q in self.mouth.quantizer.quantizers]

    def quantize(self, latent: Tensor, bypass: bool) -> tuple[Tensor, list[Tensor], Tensor]:
        """Latents → quantised latents (straight through), codes, commitment loss."""
        residual, out = latent, torch.zeros_like(latent)
        codes, commitment = [], latent.new_zeros(())
        for ema in self.ema:
            unit = ema.project(residual)
            if bypass:
                step = ema.expand(unit)
            else:
                found, index = ema.quantizer.decode_latents(unit)
                commitment = commitment + (unit - found.detach()).pow(2).sum(1).mean()
                step = ema.expand(unit + (found - unit).detach())
                if self.training:
                    ema.update(unit.detach(), index)
                codes.append(index)
            out, residual = out + step, residual - step
        return out, codes, commitment

    @torch.no_grad()
    def start_books(self, samples: Tensor) -> None:
        residual = self.encoder(samples)
        for ema in self.ema:
            ema.start(ema.project(residual))
            found, _ = ema.quantizer.decode_latents(ema.project(residual))
            residual = residual - ema.expand(found)

    @torch.inference_mode()
    def encode(self, samples: Tensor) -> list[Tensor]:
        """(rows, samples) → three books; the end is padded to a whole frame."""
        padded = F.pad(samples, (0, -samples.shape[-1] % SAMPLES_PER_FRAME))
        codes: list[Tensor] = self.mouth.quantizer(self.encoder(padded))[1]
        return codes

    def forward(self, samples: Tensor, bypass: bool = False) -> tuple[Tensor, list[Tensor], Tensor]:
        latent, codes, commitment = self.quantize(self.encoder(samples), bypass)
        return self.mouth.speak(latent.transpose(1, 2)), codes, commitment


class MelLoss(nn.Module):
    """L1 between log-mel spectrograms at four resolutions, and between linear ones: as they are, the finest in log."""

    SIZES = ((256, 32), (512, 64), (1024, 80), (2048, 100))
    FINE = 2048

    def __init__(self) -> None:
        super().__init__()
        for n_fft, n_mels in self.SIZES:
            filters = torch.tensor(librosa.filters.mel(sr=SAMPLE_RATE, n_fft=n_fft, n_mels=n_mels)).float()
            self.register_buffer(f"filters_{n_fft}", filters, persistent=False)
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), persistent=False)

    def forward(self, ours: Tensor, theirs: Tensor) -> Tensor:
        loss = ours.new_zeros(())
        for n_fft, _ in self.SIZES:
            window, filters = self.get_buffer(f"window_{n_fft}"), self.get_buffer(f"filters_{n_fft}")
            a, b = (torch.stft(x, n_fft, n_fft // 4, window=window, return_complex=True).abs() for x in (ours, theirs))
            loss = loss + F.l1_loss((filters @ a).clamp(min=1e-5).log(), (filters @ b).clamp(min=1e-5).log())
            loss = loss + 0.15 * F.l1_loss(a, b) / (b.mean() + 1e-5)
            if n_fft == self.FINE:
                # mel bands are too wide to see between harmonics above 3 kHz: what lies there is noise that is heard
                loss = loss + 0.1 * F.l1_loss(a.clamp(min=1e-3).log(), b.clamp(min=1e-3).log())
        return loss / len(self.SIZES)


class Discriminator(nn.Module):
    """Multi-resolution discriminator on compressed complex spectrograms (as in EnCodec and Vocos), small."""

    SIZES = (512, 1024, 2048)

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        c = channels
        self.nets = nn.ModuleList(
            nn.ModuleList(
                [
                    nn.Conv2d(2, c, (5, 3), stride=(2, 1), padding=(2, 1)),
                    nn.Conv2d(c, c, (7, 3), stride=(3, 1), padding=(3, 1)),
                    nn.Conv2d(c, 2 * c, (7, 3), stride=(3, 1), padding=(3, 1)),
                    nn.Conv2d(2 * c, 2 * c, (5, 3), stride=(3, 2), padding=(2, 1)),
                    nn.Conv2d(2 * c, 1, (3, 3), padding=1),
                ]
            )
            for _ in self.SIZES
        )
        for n_fft in self.SIZES:
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), persistent=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # a third quicker

    def forward(self, samples: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Scores and features of every resolution."""
        scores, features = [], []
        for n_fft, net in zip(self.SIZES, self.nets, strict=True):
            window = self.get_buffer(f"window_{n_fft}")
            spectrum = torch.stft(samples, n_fft, n_fft // 4, window=window, return_complex=True)
            spectrum = spectrum * (spectrum.abs() + 1e-4).pow(-0.7)
            x = torch.stack([spectrum.real, spectrum.imag], 1).contiguous(memory_format=torch.channels_last)
            assert isinstance(net, nn.ModuleList)
            layers = list(net)
            for layer in layers[:-1]:
                x = F.leaky_relu(layer(x), 0.1)
                features.append(x)
            scores.append(layers[-1](x))
        return scores, features


def perplexity(usage: Tensor) -> float:
    p = usage / usage.sum()
    return float((-(p * (p + 1e-9).log()).sum()).exp())


class Crops:
    """Random crops of the speech shards; new shards are picked up as they are written."""

    def __init__(self, folder: Path, shards: int, held_out: bool = False) -> None:
        self.folder, self.shards, self.held_out = folder, shards, held_out
        self.seen: set[Path] = set()
        self.audio: list[np.ndarray] = []
        self.refresh()

    def refresh(self) -> None:
        for path, recordings in audio_shards(self.folder, self.seen, self.held_out):
            if len(self.seen) >= self.shards:
                return
            self.seen.add(path)
            self.audio += recordings

    def batch(self, rows: int, length: int = CROP) -> Tensor:
        """(rows, length) float32 at slightly varied loudness."""
        out = np.zeros((rows, length), np.float32)
        for row in range(rows):
            audio = random.choice(self.audio)
            start = random.randrange(max(1, len(audio) - length))
            piece = audio[start : start + length]
            out[row, : len(piece)] = piece * (random.uniform(0.8, 1.1) / 32768)
        return torch.from_numpy(out)


def save(
    path: Path, codec: Codec, step: int, discriminator: Discriminator | None = None, run: Kept | None = None
) -> None:
    """Write a run's checkpoint; `run` is its schedule while it is under way."""
    state = {"codec": codec.state_dict(), "ema": [ema.state() for ema in codec.ema], "step": step, "run": run}
    if discriminator:
        state["discriminator"] = discriminator.state_dict()
    save_state(path, state)


def load_codec(path: Path) -> tuple[Codec, int]:
    """The codec as saved by a run, in evaluation mode, and its step."""
    state = torch.load(path, weights_only=True)
    codec = Codec(MouthConfig())
    codec.load_state_dict(state["codec"])
    for ema, kept in zip(codec.ema, state["ema"], strict=True):
        ema.count, ema.total = kept["count"], kept["total"]
    return codec.eval(), int(state["step"])


Values = dict[str, Tensor]


class Reconstruction:
    """First phase: encoder, books and mouth learn together from what the mouth gives back."""

    NAMES = ("mel", "commitment")

    def __init__(self, codec: Codec, crops: Crops) -> None:
        self.codec, self.crops, self.mel = codec, crops, MelLoss()

    def __call__(self, samples: Tensor, step: int) -> tuple[Tensor, list[Tensor], Values]:
        """→ loss, codes, values to log. The books join after 200 steps, drawn from data."""
        if step == 200:
            self.codec.start_books(torch.cat([self.crops.batch(8) for _ in range(6)]))
        spoken, codes, commitment = self.codec(samples, bypass=step < 200)
        mel = self.mel(spoken, samples)
        return 15 * mel + 0.5 * commitment, codes, {"mel": mel.detach(), "commitment": commitment.detach()}


class Polish:
    """Second phase: the codes stay as they are, a discriminator teaches the decoder what real speech looks like."""

    NAMES = ("mel", "judged", "fooled", "matched")

    def __init__(self, codec: Codec, learned: dict[str, Tensor] | None = None) -> None:
        codec.encoder.requires_grad_(False)
        codec.mouth.quantizer.requires_grad_(False)
        self.codec, self.mel = codec, MelLoss()
        self.discriminator = Discriminator()
        if learned:  # by an earlier run
            self.discriminator.load_state_dict(learned)
        self.optimizer = torch.optim.AdamW(self.discriminator.parameters(), 4e-4, betas=(0.8, 0.98), weight_decay=1e-3)

    def __call__(self, samples: Tensor, step: int) -> tuple[Tensor, list[Tensor], Values]:
        """→ loss, codes, values to log; the discriminator takes its own step."""
        codes = [code.clone() for code in self.codec.encode(samples)]
        with torch.no_grad():
            latents = self.codec.mouth.latents(codes)
        spoken = self.codec.mouth.speak(latents)
        judged = self._judge(spoken.detach(), samples)
        mel = self.mel(spoken, samples)
        scores, features = self.discriminator(spoken)
        with torch.no_grad():
            _, real_features = self.discriminator(samples)
        fooled = torch.stack([-score.mean() for score in scores]).sum()
        distances = [
            F.l1_loss(ours, real) / (real.abs().mean() + 1e-3)
            for ours, real in zip(features, real_features, strict=True)
        ]
        matched = torch.stack(distances).mean()
        values = {"mel": mel, "judged": judged, "fooled": fooled, "matched": matched}
        return 15 * mel + fooled + 2 * matched, codes, {name: value.detach() for name, value in values.items()}

    def _judge(self, fake: Tensor, real: Tensor) -> Tensor:
        """One step of the discriminator's hinge loss."""
        said, wanted = self.discriminator(fake)[0], self.discriminator(real)[0]
        pairs = zip(said, wanted, strict=True)
        loss = torch.stack([F.relu(1 + f).mean() + F.relu(1 - r).mean() for f, r in pairs]).sum()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.discriminator.parameters(), 1.0)
        self.optimizer.step()
        return loss.detach()


@torch.no_grad()
def held_out_mel(codec: Codec, crops: Crops, loss: MelLoss) -> float:
    """Mel loss on the same sixteen crops that are never trained on."""
    state = random.getstate()
    random.seed(0)
    samples = crops.batch(16)
    random.setstate(state)
    codec.eval()
    value = float(loss(codec(samples)[0], samples))
    codec.train()
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path, help="folder of speech shards")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rows", type=int, default=8, help="crops of 0.68 s a step")
    parser.add_argument("--adversarial", action="store_true", help="polish the decoder, codes as they are")
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--shards", type=int, default=8, help="speech shards held in memory at most")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    codec, step = load_codec(options.out) if options.out.exists() else (Codec(MouthConfig()), 0)
    codec.train()
    crops, held_out = Crops(options.speech, options.shards), Crops(options.speech, 1, held_out=True)
    state = torch.load(options.out, weights_only=True) if options.out.exists() else {}
    phase = Polish(codec, state.get("discriminator")) if options.adversarial else Reconstruction(codec, crops)
    discriminator = phase.discriminator if isinstance(phase, Polish) else None
    trained = [p for p in codec.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, options.rate, betas=(0.8, 0.98), weight_decay=1e-3)
    run = Run(Schedule(options.rate, floor=0.05, minutes=options.minutes), optimizer, step, state.get("run"))
    books = ("perplexity_1", "perplexity_2", "perplexity_3")
    log = options.out.with_suffix(".polish.csv" if options.adversarial else ".csv")
    curves = Curves(log, ("step", "seconds", *phase.NAMES, *books), step)
    usage = [torch.zeros(codec.mouth.config.codebook_size) for _ in STRIDES]
    running: dict[str, float] = {}
    for step in run:
        loss, codes, values = phase(crops.batch(options.rows), step - 1)
        descend(loss, optimizer, trained)
        for book, index in zip(usage, codes, strict=False):
            book.mul_(0.98).add_(torch.bincount(index.flatten(), minlength=len(book)).float())
        for name, value in values.items():
            running[name] = 0.95 * running.get(name, float(value)) + 0.05 * float(value)
        if step % 50 == 0:
            shown = {name: round(value, 3) for name, value in running.items()}
            perplexities = [perplexity(u) if codes else math.nan for u in usage]
            run.say(f"{shown}, perplexity {[round(p) for p in perplexities if codes]}")
            curves.add(step, round(run.seconds), *(running[name] for name in phase.NAMES), *perplexities)
        if step % 300 == 0:
            save(options.out, codec, step, discriminator, run.state())
            crops.refresh()
            held_out.refresh()
            if held_out.audio:
                run.say(f"held-out mel {held_out_mel(codec, held_out, phase.mel):.4f}")
    save(options.out, codec, run.step, discriminator)
    run.say("done")


if __name__ == "__main__":
    main()
