"""Networks that the deblenders of a process share, since each has compiled functions of its own."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from btk_punet.model.quiet import quietly_imported
from btk_punet.model.weights import weights_fingerprint, weights_folder

if TYPE_CHECKING:
    from btk_punet.model.proba_unet import ProbaUNet

# So many networks that were loaded are kept.
MOST_NETWORKS = 4


def shared_network(weights: str | Path | ProbaUNet) -> tuple[ProbaUNet, Path | None]:
    """Return a network and its folder as `open_network` does, the same one for the same weights."""
    if not isinstance(weights, str | Path):
        return quietly_imported("btk_punet.model.proba_unet").open_network(weights)
    folder = weights_folder(weights)
    return _loaded_once(folder, weights_fingerprint(folder)), folder


@lru_cache(maxsize=MOST_NETWORKS)
def _loaded_once(folder: Path, fingerprint: str) -> ProbaUNet:
    """Return the network of a folder, the same one for files of the same contents."""
    # Here and not above: TensorFlow takes seconds to load.
    return quietly_imported("btk_punet.model.proba_unet").ProbaUNet.load(folder)
