"""Which HST stamps the benchmark leaves out, and why: their peaks, printed and drawn.

    python benchmarks/real_galaxies.py DIR [--output real_galaxies.png]

DIR holds real galaxies in GalSim's format. Every stamp with more than one peak is printed: the
number of peaks, the second peak's height over the first's and its saddle over its own height, and
whether the rule of `evaluation.scoring.real_stamps` calls it two objects. The
picture shows these stamps, those left out with a frame.
"""

import argparse
from pathlib import Path

import numpy as np
from rows import add_row

from btk_punet.evaluation.scoring.real_stamps import holds_two_objects, stamp_peaks
from btk_punet.figures import PALETTE, write_figure
from btk_punet.simulation.choices import open_cosmos

COLUMNS = 5


def main() -> None:
    """Print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("real_galaxies.png"))
    options = parser.parse_args()
    catalog = open_cosmos(options.folder)
    galaxies = catalog.get_galsim_catalog()
    stamps = {
        int(row["IDENT_1"]): galaxies.getRealParams(int(row["btk_index"]))[0].array
        for row in catalog.table
    }
    shown = {ident: stamp for ident, stamp in stamps.items() if len(stamp_peaks(stamp)) > 1}
    add_row("HST stamps with more than one peak", len(shown) / len(stamps), "share")
    print(f"{len(stamps)} stamps, {len(shown)} with more than one peak\nIDENT peaks ratio saddle")
    for ident, stamp in shown.items():
        peaks = stamp_peaks(stamp)
        ratio, saddle = peaks[1].height / peaks[0].height, peaks[1].saddle / peaks[1].height
        out = "two objects: left out" if holds_two_objects(stamp) else ""
        print(f"{ident:6d} {len(peaks):4d}  {ratio:.2f}  {saddle:.2f}   {out}")

    def draw(figure) -> None:
        n_rows = -(-len(shown) // COLUMNS)
        for ax in (panels := figure.subplots(n_rows, COLUMNS, squeeze=False).ravel()):
            ax.set_axis_off()
        for ax, (ident, stamp) in zip(panels, shown.items(), strict=False):
            peaks = stamp_peaks(stamp)
            ax.imshow(np.arcsinh(stamp / np.std(stamp[:4])), "gray_r", origin="lower")
            ax.plot([p.x for p in peaks], [p.y for p in peaks], "+", color=PALETTE[1])
            ax.set_axis_on()
            ax.set(xticks=[], yticks=[], title=f"IDENT {ident}")
            if holds_two_objects(stamp):
                for spine in ax.spines.values():
                    spine.set(color=PALETTE[1], linewidth=4)

    write_figure(draw, (2.2 * COLUMNS, 2.4 * -(-len(shown) // COLUMNS)), options.output)
    print(f"Drawn: {options.output}")


if __name__ == "__main__":
    main()
