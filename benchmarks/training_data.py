"""Speed of the training data: how long a bank takes to draw, and how fast stamps are composed.

The clock of drawing is the wall's (it may use several processes), that of composing the process's
own CPU time, of one thread.

    python benchmarks/training_data.py [--galaxies 20000] [--njobs 1] [--bank FILE]
        [--real-galaxies FILE]

With ``--bank`` the bank is read from the file if it is there, else drawn and kept in it.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from rows import add_row

from btk_punet.training.bank import KINDS, TRAINING_SEED, GalaxyBank
from btk_punet.training.dataset import SCENE_MIX, StampComposer
from btk_punet.training.drawing import draw_bank


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--galaxies", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=TRAINING_SEED)
    parser.add_argument("--njobs", type=int, default=1, help="processes that draw")
    parser.add_argument("--bank", type=Path, help="file of the bank, read or written")
    parser.add_argument("--real-galaxies", type=Path, help="file of real galaxies to draw, too")
    parser.add_argument("--size", type=int, default=96, help="side of a stamp [pixel]")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=40)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        bank = get_bank(options, options.bank or Path(folder) / "bank.npz")
    print_bank(bank)
    for name, arguments in {
        "as trained": {},
        "without masks": {"masked_share": 0.0},
        **{kind: {"mix": {kind: 1.0}} for kind in SCENE_MIX},
    }.items():
        print_speed(name, StampComposer(bank, options.size, **arguments), options)


def get_bank(options, path):
    start = time.perf_counter()
    if path.is_file():
        bank = GalaxyBank.load(path)
        print(f"read {path} in {time.perf_counter() - start:.1f} s")
        return bank
    bank = draw_bank(
        options.galaxies,
        seed=options.seed,
        njobs=options.njobs,
        real_galaxies=options.real_galaxies,
    )
    drawn = time.perf_counter()
    bank.save(path)
    print(
        f"drew {len(bank)} stamps in {drawn - start:.1f} s with {options.njobs} process(es), saved "
        f"in {time.perf_counter() - drawn:.1f} s: {path.stat().st_size / 1e6:.0f} MB"
    )
    return bank


def print_bank(bank):
    kinds = np.bincount(bank.catalog["kind"], minlength=len(KINDS)) / len(bank)
    print(
        f"{len(bank)} stamps through {len(bank.psf_fwhm_arcsec)} PSFs of FWHM "
        f"{bank.psf_fwhm_arcsec.min():.3f}-{bank.psf_fwhm_arcsec.max():.3f} arcsec, "
        f"{bank.pixels.nbytes / 1e6:.0f} MB in memory: "
        + ", ".join(f"{name} {share:.0%}" for name, share in zip(KINDS, kinds, strict=True))
    )


def print_speed(name, composer, options):
    composer.batch(0, options.batch_size)  # fills caches, not timed
    centres, classes = 0, np.zeros(3)
    seconds = 0.0
    for step in range(1, options.batches + 1):
        start = time.process_time()
        batch = composer.batch(step, options.batch_size)
        seconds += time.process_time() - start
        centres += batch["centre"].sum()
        classes += np.bincount(batch["class"].ravel(), minlength=3)
    number = options.batches * options.batch_size
    shares = classes / classes.sum()
    add_row(f"stamps composed, {name}", number / seconds, "a CPU second", timed=True)
    print(
        f"{name:>16}: {number / seconds:6.0f} stamps/s of {options.size} px, "
        f"{centres / number:.1f} centres a stamp, pixels of class 0 / 1 / 2: "
        f"{shares[0]:.1%} / {shares[1]:.1%} / {shares[2]:.1%}"
    )


if __name__ == "__main__":
    main()
