"""The page's icons: a head of seeds on yellow, as an SVG and as the PNGs that an installed page needs.

python -m deploy.icons      # writes static/icons/; needs Pillow
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw

ICONS = Path(__file__).parents[1] / "static" / "icons"
FIELD, SEED = "#ffd633", "#1a1708"
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
SEEDS = 21
OVERSAMPLING = 4


def seeds(reach: float) -> Iterator[tuple[float, float, float]]:
    """x, y and radius of every seed, in a picture of width 1 whose middle is 0.5; `reach`: radius of the head."""
    for seed in range(SEEDS):
        share = math.sqrt((seed + 0.5) / SEEDS)
        angle = seed * GOLDEN_ANGLE
        radius = reach / math.sqrt(SEEDS) * (0.4 + 0.42 * share)
        yield 0.5 + reach * share * math.cos(angle), 0.5 + reach * share * math.sin(angle), radius


def svg() -> str:
    dots = "".join(f'<circle cx="{64 * x:.2f}" cy="{64 * y:.2f}" r="{64 * r:.2f}"/>' for x, y, r in seeds(0.36))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">'
        f'<circle cx="32" cy="32" r="32" fill="{FIELD}"/><g fill="{SEED}">{dots}</g></svg>\n'
    )


def png(pixels: int) -> Image.Image:
    """Filling its square, with room for any mask (the safe zone has a radius of 0.4)."""
    size = pixels * OVERSAMPLING
    picture = Image.new("RGB", (size, size), FIELD)
    draw = ImageDraw.Draw(picture)
    for x, y, r in seeds(0.32):
        draw.ellipse([size * at for at in (x - r, y - r, x + r, y + r)], fill=SEED)
    return picture.resize((pixels, pixels), Image.Resampling.LANCZOS).quantize(2)


def main() -> None:
    (ICONS / "icon.svg").write_text(svg())
    for pixels in (192, 512):
        png(pixels).save(ICONS / f"icon-{pixels}.png", optimize=True)


if __name__ == "__main__":
    main()
