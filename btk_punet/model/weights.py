"""Weights as files: where they are, and what is in them, found out without loading a network."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

from btk_punet.errors import BtkPunetWarning, InputError

PRESETS = Path(__file__).parent / "presets"
# What a folder of weights holds: these two, and perhaps how its maps become detections.
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.weights.h5"
_ALL_FILES = (CONFIG_FILE, WEIGHTS_FILE, "detection.json")


def missing_files(folder: str | Path) -> list[str]:
    """Return which of the two files of a network a folder lacks."""
    return [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (Path(folder) / name).is_file()]


def installed_presets() -> list[str]:
    """Return the names of the presets of this package that are there with their weights."""
    return sorted(path.name for path in PRESETS.glob("*") if not missing_files(path))


def preset_folder(name: str) -> Path:
    """Return the folder of a preset, whether it is there or not."""
    return PRESETS / name


def weights_folder(weights: str | Path) -> Path:
    """Return the folder with the files of a network.

    Args:
        weights: As for `open_network`: a folder that `ProbaUNet.save` wrote, or that of a training
            run, or the name of a preset, which goes before a folder of the same name. A text with
            a slash is always a folder.

    Raises:
        InputError: if there is no network.
    """
    folder = Path(weights)
    # A path that is mistyped is no preset, either: the message says what is missing there.
    is_name = not isinstance(weights, Path) and folder.name == weights
    if is_name and (weights in installed_presets() or not folder.is_dir()):
        if folder.is_dir():
            warnings.warn(
                f"'{weights}' is taken as the preset of that name, not as the folder here: write "
                f"'./{weights}' for the folder.",
                BtkPunetWarning,
                stacklevel=2,
            )
        folder = preset_folder(str(weights))
    elif (folder / "model" / CONFIG_FILE).is_file():
        folder = folder / "model"
    missing = missing_files(folder)
    if missing:
        raise InputError(
            f"expected the weights as a folder with {CONFIG_FILE} and {WEIGHTS_FILE} or the name "
            f"of a preset ({', '.join(installed_presets()) or 'none is installed'}), got "
            f"'{weights}' without {' and '.join(missing)}; give a folder that ProbaUNet.save or "
            "btk-punet train wrote"
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


def is_told_density(weights: str | Path) -> bool:
    """Return whether a network is told how dense sources lie.

    Args and Raises are those of `weights_folder`.
    """
    config = json.loads((weights_folder(weights) / CONFIG_FILE).read_text())
    return bool(config.get("told_density", False))
