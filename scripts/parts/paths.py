"""Where everything lives."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Big and the same for every clone, so kept in the user's cache.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ascribe"

LIBTORCH = ROOT / ".libtorch"  # a link to the libtorch that set-up chose
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
NOTEBOOKS = ROOT / "notebooks"

TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").absolute()
KERNEL = ROOT / "target" / "kernel"  # inside the project, so that .cargo/config.toml reaches the builds below it
WARM = KERNEL / "warm"
LIVE = KERNEL / "live"
TOOLCHAIN = KERNEL / "toolchain"
