"""Time, memory and agreement of `detect` on whole images, beside SEP and SExtractor.

    python benchmarks/whole_image.py OUTPUT [--sizes 512 1024 2048 4096] [--jobs 1]

Fields at the sky's density (83 per arcmin^2 to I_E = 26.5, seed 20261501), four exposures. Each
method runs in a process of its own on the same FITS file, with the noise given: seconds of the
whole process, its peak memory (with the processes that it starts), sources per second. Then the
largest field but one is cut into tiles elsewhere, and once 37 rows and 21 columns are taken off:
the share of sources with p_detect > 0.5 that are found again, closer than a pixel.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from rows import add_row
from scipy.spatial import KDTree

from btk_punet.simulation.fields import draw_field
from btk_punet.simulation.survey import background_variance, get_euclid_survey

SEED = 20_261_501
SURVEY = get_euclid_survey(4)
RMS = background_variance(SURVEY, SURVEY.get_filter("IE")) ** 0.5
ZEROPOINT = 25.92 + 2.5 * np.log10(4 * 565)

DETECT = """
from btk_punet import detect
found = detect({path!r}, rms={rms}, gain=1, background=None, zeropoint={zeropoint}, psf=0.16,
               output={output!r}, overwrite=True, jobs={jobs}, weights={weights!r}, progress=False)
print(len(found))
"""
SEP = """
import numpy as np, sep
from astropy.io import fits
image = fits.getdata({path!r}).astype(np.float32)
sep.set_extract_pixstack(10_000_000)
found = sep.extract(image, 1.2, err={rms}, minarea=5, deblend_nthresh=64, deblend_cont=5e-4)
shape = [found[name] for name in ("x", "y", "a", "b", "theta")]
radius, _ = sep.kron_radius(image, *shape, 6.0)
print(len(found))
"""


def draw(size: int, folder: Path) -> Path:
    """Write the field of a size, if it is not there."""
    path = folder / f"field_{size}.fits"
    if not path.is_file():
        image, _, wcs = draw_field((size, size), survey=SURVEY, seed=SEED)
        fits.writeto(path, image, wcs.to_header())
    return path


def measured(command: list[str], folder: Path) -> tuple[float, float, str]:
    """Return seconds, peak memory of the process and its children [GB], and what it printed."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder
    )
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, tree_memory(process.pid))
        time.sleep(0.05)
    seconds = time.perf_counter() - start
    output = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{command[0]} failed")
    return seconds, peak, output


def tree_memory(process: int) -> float:
    """Return the resident memory of a process and its children [GB], shared files left out."""
    total, todo = 0, [process]
    while todo:
        one = todo.pop()
        try:
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
            children = Path(f"/proc/{one}/task/{one}/children").read_text().split()
        except OSError:
            continue
        known = dict(line.split(":", 1) for line in lines if ":" in line)
        total += sum(
            int(known.get(k, "0 kB").split()[0]) for k in ("RssAnon", "RssShmem", "RssFile")
        )
        todo += map(int, children)
    return total / 2**20


def sextractor(path: Path, folder: Path) -> list[str]:
    """Return the command of SExtractor on a field, with its settings written."""
    (folder / "default.param").write_text("X_IMAGE\nY_IMAGE\nFLUX_AUTO\n")
    fits.writeto(
        folder / "rms.fits", np.full(fits.getdata(path).shape, RMS, np.float32), overwrite=True
    )
    kernel = "CONV NORM\n1 2 1\n2 4 2\n1 2 1\n"
    (folder / "default.conv").write_text(kernel)
    settings = {
        "PARAMETERS_NAME": "default.param", "FILTER_NAME": "default.conv",
        "DETECT_THRESH": 1.2, "ANALYSIS_THRESH": 1.2, "DETECT_MINAREA": 5,
        "DEBLEND_NTHRESH": 64, "DEBLEND_MINCONT": 5e-4, "CLEAN": "Y",
        "WEIGHT_TYPE": "MAP_RMS", "WEIGHT_IMAGE": "rms.fits", "THRESH_TYPE": "RELATIVE",
        "BACK_TYPE": "MANUAL", "BACK_VALUE": 0, "CATALOG_NAME": "sextractor.cat",
        "MEMORY_PIXSTACK": 10_000_000, "VERBOSE_TYPE": "QUIET",
    }  # fmt: skip
    program = shutil.which("source-extractor") or shutil.which("sex")
    if program is None:
        raise SystemExit("source-extractor is not installed: apt install source-extractor")
    return [program, str(path), "-c", "/dev/null"] + [
        part for name, value in settings.items() for part in (f"-{name}", str(value))
    ]


def agreement(one, other, shift=(0, 0), border=64) -> float:
    """Return the share of sources of two catalogs that the other has, within a pixel."""
    places = []
    for found, moved in ((one, shift), (other, (0, 0))):
        x, y = (found.catalog[n].value for n in ("x_peak", "y_peak"))
        places.append(np.stack([x - moved[1], y - moved[0]], axis=1))
    height, width = (n - s for n, s in zip(one.shape, shift, strict=True))
    shares = []
    for own, others in (places, places[::-1]):
        inside = ((own > border) & (own < (width - border, height - border))).all(axis=1)
        distance, _ = KDTree(others).query(own[inside])
        shares.append(np.mean(distance < 1))
    return float(min(shares))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 2048, 4096])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--weights", default="euclid-vis")
    options = parser.parse_args()
    folder = options.output.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for size in options.sizes:
        path = draw(size, folder)
        for method in ("detect", "sep", "sextractor"):
            if method == "sextractor":
                command = sextractor(path, folder)
            else:
                script = DETECT if method == "detect" else SEP
                script = script.format(
                    path=str(path), rms=RMS, zeropoint=ZEROPOINT, jobs=options.jobs,
                    output=str(folder / f"found_{size}"), weights=options.weights,
                )  # fmt: skip
                command = [sys.executable, "-c", script]
            seconds, memory, printed = measured(command, folder)
            if method == "sextractor":
                lines = (folder / "sextractor.cat").read_text().splitlines()
                printed = str(sum(not line.startswith("#") for line in lines))
            number = int(printed.split()[-1])
            rows.append((size, method, number, seconds, memory, number / seconds))
            case = f"{method}, {size} x {size} pixels"
            add_row(case, seconds, "s", seed=SEED, timed=True)
            add_row(f"{case}, peak memory", memory, "GB", seed=SEED)
            print(rows[-1], flush=True)
    columns = ["pixels", "method", "sources", "seconds", "peak_gb", "sources_per_second"]
    table = pd.DataFrame(rows, columns=columns)
    table.to_csv(folder / "whole_image.csv", index=False)
    print(table.round(3).to_string(index=False))

    from btk_punet import detect
    from btk_punet.images import search

    size = sorted(options.sizes)[-2] if len(options.sizes) > 1 else options.sizes[0]
    image = fits.getdata(draw(size, folder))
    choices = {"rms": RMS, "gain": 1, "background": None, "zeropoint": ZEROPOINT, "psf": 0.16}
    choices |= {"weights": options.weights, "progress": False}
    whole = detect(image, **choices)
    shares = {
        "cut off by 37 rows, 21 columns": agreement(
            whole, detect(image[37:, 21:], **choices), (37, 21)
        )
    }
    search.TILE_PIXELS = 480
    shares["tiles of 480 pixels"] = agreement(whole, detect(image, **choices))
    for which, share in shares.items():
        add_row(f"sources found again, {which}", share, "share", seed=SEED)
    (folder / "agreement.json").write_text(json.dumps(shares, indent=2) + "\n")
    print(size, shares)


if __name__ == "__main__":
    main()
