"""What a million blends, and the sky that Euclid sees, take on 1,000 cores, and what breaks first.

    python benchmarks/scaling.py FOLDER [--n-blends 400] [--seed 20261601] [--cores 1000]

Measures on this machine, in CPU time where it can: a blend (drawing, SEP, ProbaUNet, evaluation),
the files and bytes of a batch, the tables of a run in memory and on the disk, the join of many
batches, the tables of the report, the start of a process that loads the network, a task of Dask's
scheduler, and `detect` on an image of 1024 x 1024 pixels of the sky (what it writes). Its time and
memory on larger images are those of `benchmarks/whole_image.py`. FOLDER/scaling.csv holds what
follows for 1e6 blends and 14,000 square degrees.

The benchmark's groups, 50 a batch, SEP and ProbaUNet, without outcomes and report. The times a
blend are of one core on a machine that others may use: compare the columns, and measure yours.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from rows import add_row

from btk_punet import Comparison, compare, detect, draw_field, get_euclid_survey
from btk_punet.simulation.survey import background_variance

BATCH_SIZE, METHODS = 50, ("sep", "probaunet")
N_BLENDS, SQUARE_DEGREES = 1_000_000, 14_000
PIXELS_PER_SQUARE_DEGREE = (3600 / 0.1) ** 2
# `python benchmarks/whole_image.py FOLDER` (docs/tasks/whole_images.md).
DETECT_START_SECONDS, DETECT_SECONDS_PER_MEGAPIXEL, DETECT_PEAK_GB = 9.0, 3.0, 1.36
DETECT_SIZE, TILE_PIXELS = 1024, 4096
JOINED_BATCHES, REPORT_COPIES, TASKS = 50, 20, 2000
# What parallel file systems make in a second, whatever the number of processes that ask: not
# measured here. The documentation of your machine says more.
FILES_PER_SECOND, BYTES_PER_SECOND = 10_000, 10e9

START = """
import sys
from btk_punet.model.proba_unet import open_network
open_network("euclid-vis")
files, size = set(), 0
for line in open("/proc/self/maps"):
    if "/" in line:
        files.add(line[line.index("/"):].strip())
from pathlib import Path
mapped = sum(Path(f).stat().st_size for f in files if Path(f).is_file())
read = int(open("/proc/self/io").readline().split()[1])
print(len(sys.modules), mapped + read)
"""


@dataclass
class Measured:
    """What one blend, batch or process takes."""

    cpu_ms: float  # a blend: drawing, both methods, evaluation
    method_ms: dict[str, float]  # of it, by name, on the wall
    files: int  # a batch
    part_bytes: float  # a batch
    disk_bytes: float  # a blend, joined
    memory_bytes: float  # a blend, joined
    join_ms: float  # a batch
    join_large_ms: float  # a batch of ``large`` blends
    large: int
    report_ms: float  # a blend
    start_seconds: float
    start_modules: int
    start_bytes: float
    process_gb: float
    task_ms: float
    map_bytes: float  # a pixel


def main() -> None:
    """Measure, and print what follows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n-blends", type=int, default=400)
    parser.add_argument("--seed", type=int, default=20_261_601)
    parser.add_argument("--cores", type=int, default=1000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    found = measured(options.folder, options.n_blends, options.seed)
    table = pd.DataFrame(what_follows(found, options.cores), columns=["what", "number", "unit"])
    table["number"] = [f"{number:.2g}" if number < 100 else f"{number:,.0f}" for number in
                       table["number"]]  # fmt: skip
    table.to_csv(options.folder / "scaling.csv", index=False)
    print(table.to_string(index=False))
    for figure, value, unit, timed in (
        ("drawing, SEP, ProbaUNet and evaluation", found.cpu_ms, "CPU ms a blend", True),
        ("joining the files of a batch", found.join_ms, "ms", True),
        ("tables of the report", found.report_ms, "CPU ms a blend", True),
        ("a process that loads the network", found.start_seconds, "CPU s", True),
        ("the same, memory", found.process_gb, "GB", False),
        ("a task of Dask's scheduler", found.task_ms, "ms", True),
        ("files of a batch of 50 blends", found.part_bytes / 1e3, "kB", False),
        ("joined tables in memory", found.memory_bytes / 1e3, "kB a blend", False),
        ("maps of detect on the disk", found.map_bytes, "bytes a pixel", False),
    ):
        add_row(figure, value, unit, seed=options.seed, timed=timed)


def measured(folder: Path, n_blends: int, seed: int) -> Measured:
    """Return what is measured here; files are left in the folder."""
    start = start_of_a_process()
    common = {"batch_size": BATCH_SIZE, "seed": seed, "outcomes": False, "report": False}
    common["progress"] = False
    seconds = []
    # The first compiles; of the others, the difference is what the blends take.
    for name, number in (
        ("first", BATCH_SIZE),
        ("few", BATCH_SIZE),
        ("many", BATCH_SIZE + n_blends),
    ):
        before = time.process_time()
        run = compare(folder / name, METHODS, n_blends=number, **common)
        seconds.append(time.process_time() - before)
    cpu_ms = 1e3 * (seconds[2] - seconds[1]) / n_blends
    parts = sorted((folder / "few").glob("*.parquet"))
    joined = sorted(run.folder.glob("*.parquet"))
    of_scenes = {
        name: table for name, table in run.collected.tidy.items() if "scene" in table.columns
    }
    in_memory = sum(table.memory_usage(deep=True).sum() for table in of_scenes.values())
    total = BATCH_SIZE + n_blends
    return Measured(
        cpu_ms,
        run.run["timing_ms_per_blend"],
        len(parts) + 1,  # and the summary
        sum(path.stat().st_size for path in parts),
        sum(path.stat().st_size for path in joined) / total,
        in_memory / total,
        join_ms(parts),
        join_ms(joined),
        total,
        report_ms(run, of_scenes),
        *start,
        task_ms(),
        map_bytes(folder, seed),
    )


def start_of_a_process() -> tuple[float, int, float, float]:
    """Return CPU seconds, modules, bytes read or mapped, and peak memory [GB] of a start."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = subprocess.run(
        [sys.executable, "-c", START], capture_output=True, text=True, check=True
    ).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    modules, size = printed.split()[-2:]
    return seconds, int(modules), float(size), after.ru_maxrss / 2**20


def join_ms(parts: list[Path]) -> float:
    """Return the time of reading and joining the tables of a batch, of many batches."""
    start = time.process_time()
    for path in parts:
        pd.concat([pd.read_parquet(path) for _ in range(JOINED_BATCHES)], ignore_index=True)
    return 1e3 * (time.process_time() - start) / JOINED_BATCHES


def report_ms(run: Comparison, of_scenes: dict[str, pd.DataFrame]) -> float:
    """Return the time that a blend adds to the tables of the report, bootstraps included."""
    seconds = []
    for copies in (1, REPORT_COPIES):
        tidy = dict(run.collected.tidy)
        for name, table in of_scenes.items():
            moved = [
                table.assign(scene=table["scene"] + n * run.run["n_blends"]) for n in range(copies)
            ]
            tidy[name] = pd.concat(moved, ignore_index=True)
        described = run.run | {"n_blends": copies * run.run["n_blends"]}
        more = Comparison.from_tables(run.folder, described, tidy, run.studies)
        start = time.process_time()
        _ = more.tables
        seconds.append(time.process_time() - start)
    added = (REPORT_COPIES - 1) * run.run["n_blends"]
    return 1e3 * (seconds[1] - seconds[0]) / added


def nothing(number: int) -> int:
    """Return a number: a task that costs its message alone."""
    return number


def task_ms() -> float:
    """Return the time of a task that does nothing, NaN without Dask."""
    try:
        from distributed import Client
    except ImportError:
        return float("nan")
    with Client(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as client:
        client.gather(client.map(nothing, range(10), pure=False))
        start = time.process_time()
        client.gather(client.map(nothing, range(TASKS), pure=False))
        return 1e3 * (time.process_time() - start) / TASKS


def map_bytes(folder: Path, seed: int) -> float:
    """Return what `detect` leaves of a pixel on the disk, the catalog included."""
    survey = get_euclid_survey(4)
    image, _, wcs = draw_field((DETECT_SIZE, DETECT_SIZE), survey=survey, seed=seed)
    path = folder / "field.fits"
    fits.writeto(path, image, wcs.to_header())
    rms = float(np.sqrt(background_variance(survey, survey.get_filter("IE"))))
    detect(
        path, rms=rms, gain=1, background=None, zeropoint=25.92, psf=0.16, weights="euclid-vis",
        output=folder / "found", progress=False,
    )  # fmt: skip
    size = sum(each.stat().st_size for each in (folder / "found").rglob("*") if each.is_file())
    return size / image.size


def what_follows(one: Measured, cores: int) -> list[tuple[str, float, str]]:
    """Return the rows of the table: what, number, unit."""
    batches = N_BLENDS / BATCH_SIZE
    pixels = SQUARE_DEGREES * PIXELS_PER_SQUARE_DEGREE
    images = pixels / TILE_PIXELS**2
    batch_seconds = BATCH_SIZE * one.cpu_ms / 1e3
    detect_seconds = images * (
        DETECT_START_SECONDS + DETECT_SECONDS_PER_MEGAPIXEL * TILE_PIXELS**2 / 1e6
    )
    without_start = pixels / 1e6 * DETECT_SECONDS_PER_MEGAPIXEL
    return [
        *(
            (f"a blend, measured: {name}", ms, "ms (wall)")
            for name, ms in one.method_ms.items()
        ),
        ("a blend, measured: all, with evaluation", one.cpu_ms, "ms (CPU)"),
        ("1e6 blends: CPU", N_BLENDS * one.cpu_ms / 3.6e6, "core hours"),
        (f"1e6 blends: on {cores:,} cores", N_BLENDS * one.cpu_ms / 6e4 / cores, "minutes"),
        ("1e6 blends: batches", batches, "tasks"),
        ("1e6 blends: files of batches", batches * one.files, "files"),
        ("1e6 blends: their size", batches * one.part_bytes / 1e9, "GB"),
        ("1e6 blends: they are made at", one.files * cores / batch_seconds, "files a second"),
        ("1e6 blends: reading and joining them, one process",
         batches * one.join_ms / 6e4, "CPU minutes"),
        (
            f"1e6 blends: the same in batches of {one.large:,} blends",
            N_BLENDS / one.large * one.join_large_ms / 6e4,
            "CPU minutes",
        ),
        ("1e6 blends: tidy tables on the disk", N_BLENDS * one.disk_bytes / 1e9, "GB"),
        ("1e6 blends: tidy tables in memory", N_BLENDS * one.memory_bytes / 1e9, "GB"),
        ("1e6 blends: tables of the report, one process",
         N_BLENDS * one.report_ms / 3.6e6, "CPU hours"),
        ("a task of the scheduler, measured", one.task_ms, "ms (CPU)"),
        ("tasks a second that so many cores end", cores / batch_seconds, "a second"),
        ("share of a scheduler's core", cores / batch_seconds * one.task_ms / 1e3, ""),
        ("cores that one scheduler can feed", batch_seconds * 1e3 / one.task_ms, "cores"),
        ("a process's start, measured", one.start_seconds, "CPU s"),
        ("its memory", one.process_gb, "GB"),
        ("its files: modules of Python", one.start_modules, "files"),
        (f"starting {cores:,} processes: files opened", cores * one.start_modules, "files"),
        (f"starting {cores:,} processes: at {FILES_PER_SECOND:,} files a second",
         cores * one.start_modules / FILES_PER_SECOND / 60, "minutes"),
        (f"starting {cores:,} processes: bytes read", cores * one.start_bytes / 1e9, "GB"),
        (f"starting {cores:,} processes: at {BYTES_PER_SECOND / 1e9:g} GB/s",
         cores * one.start_bytes / BYTES_PER_SECOND / 60, "minutes"),
        (f"{SQUARE_DEGREES:,} square degrees: pixels of 0.1 arcsec", pixels / 1e12, "1e12"),
        (f"{SQUARE_DEGREES:,} square degrees: detect, images of {TILE_PIXELS} pixels",
         detect_seconds / 3600, "core hours"),
        (f"{SQUARE_DEGREES:,} square degrees: on {cores:,} cores",
         detect_seconds / 3600 / cores, "hours"),
        (f"{SQUARE_DEGREES:,} square degrees: the same without a start for each image",
         without_start / 3600 / cores, "hours"),
        (f"{SQUARE_DEGREES:,} square degrees: images, in single precision", 4 * pixels / 1e12,
         "TB"),
        (f"{SQUARE_DEGREES:,} square degrees: maps and catalogs of detect",
         pixels * one.map_bytes / 1e12, "TB"),
        (f"{SQUARE_DEGREES:,} square degrees: written at",
         pixels * one.map_bytes / (without_start / cores) / 1e9, "GB/s"),
        (f"{SQUARE_DEGREES:,} square degrees: memory of {cores:,} processes",
         cores * DETECT_PEAK_GB / 1e3, "TB"),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
