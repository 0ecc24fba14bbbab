"""What holds for every test: the small model is the default, and packed weights stay in the checkout."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["OMNI_MODEL"] = "smol-omni"
"""A test that wants another model names it."""
os.environ["OMNI_CACHE_DIR"] = str(Path(__file__).parents[1] / "work" / "cache")
