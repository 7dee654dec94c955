"""Whether the arrays that a deblender returns fit in memory."""

from __future__ import annotations

import os

import numpy as np

from btk_punet.errors import InputError

# BTK's own check of a segmentation makes three arrays of its size.
_CHECKS_OF_SEGMENTATION = 3


def available_bytes() -> int | None:
    """Return how much memory a process can have without swapping; None where nobody says."""
    try:
        with open("/proc/meminfo") as lines:  # Linux
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass
    try:
        # All that the machine has: macOS does not say how much of it is free.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def check_results_fit(
    name: str, shape: tuple[int, ...], max_n_sources: int, n_bands: int, remedy: str = ""
) -> None:
    """Raise InputError unless segmentation and deblended images fit in the memory that is free.

    Args:
        name: Who returns them, as the error says it.
        shape: Number, height and width of the images.
        max_n_sources: Number of sources for which there is room in each image.
        n_bands: Number of bands of the deblended images, float32; 0 if there are none.
        remedy: A further thing to do about it, as a sentence's part.
    """
    available = available_bytes()
    segmentation = float(np.prod([*shape, max_n_sources], dtype=float))
    deblended = 4.0 * n_bands * segmentation
    needed = (1 + _CHECKS_OF_SEGMENTATION) * segmentation + deblended
    if available is None or needed <= available:
        return
    parts = [f"a segmentation of {segmentation / 1e9:.1f} GB"]
    if n_bands:
        parts.append(f"deblended images of {deblended / 1e9:.1f} GB")
    remedies = ["Lower max_n_sources", "draw smaller batches", *([remedy] if remedy else [])]
    raise InputError(
        f"{name} would need {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are "
        f"free: {shape[0]} image(s) of {shape[1]} x {shape[2]} pixels with max_n_sources="
        f"{max_n_sources} are {' and '.join(parts)}, and BTK's check of the segmentation takes "
        f"three times its size. {', '.join(remedies)}, or detect on whole images with "
        "btk_punet.detect, which needs no such arrays."
    )
