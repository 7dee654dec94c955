"""The networks that the benchmarks measure."""

from pathlib import Path

from btk_punet.training.train import network_so_far


def opened(weights: str):
    """Return what `ProbaUNetDeblender` takes: of a run that is not done, the network so far."""
    folder = Path(weights)
    if (folder / "checkpoint.npz").is_file() and not (folder / "model").is_dir():
        return network_so_far(folder)
    return weights
