"""Weights as files: where they are, and what is in them, found out without loading a network."""

from __future__ import annotations

import hashlib
from pathlib import Path

from btk_punet.errors import InputError

PRESETS = Path(__file__).parent / "presets"
# What a folder of weights holds: these two, and perhaps how its maps become detections.
NEEDED_FILES = ("config.json", "model.weights.h5")
_ALL_FILES = (*NEEDED_FILES, "detection.json")


def preset_is_installed(name: str) -> bool:
    """Tell whether a preset of this package is there with its weights."""
    return all((PRESETS / name / file).is_file() for file in NEEDED_FILES)


def weights_folder(weights: str | Path) -> Path:
    """Return the folder with the files of a network.

    Args:
        weights: As for `open_network`: a folder that `ProbaUNet.save` wrote, or that of a training
            run, or the name of a preset.

    Raises:
        InputError: if there is no network.
    """
    folder = Path(weights)
    if not (isinstance(weights, Path) or folder.is_dir() or folder.name != weights):
        folder = PRESETS / weights
    elif (folder / "model" / NEEDED_FILES[0]).is_file():
        folder = folder / "model"
    missing = [name for name in NEEDED_FILES if not (folder / name).is_file()]
    if missing:
        installed = sorted(p.name for p in PRESETS.glob("*") if preset_is_installed(p.name))
        raise InputError(
            f"expected the weights as a folder with {' and '.join(NEEDED_FILES)} or the name of a "
            f"preset ({', '.join(installed) or 'none is installed'}), got '{weights}' without "
            f"{' and '.join(missing)}; give a folder that ProbaUNet.save or btk-punet train wrote"
        )
    return folder


def weights_fingerprint(weights: str | Path) -> str:
    """Return a hash of the files of a network, the same wherever they lie.

    Args and Raises are those of `weights_folder`.
    """
    folder = weights_folder(weights)
    total = hashlib.sha256()
    for name in _ALL_FILES:
        if (folder / name).is_file():
            total.update(name.encode())
            total.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return total.hexdigest()[:16]
