"""What the end of a run takes as it grows: time and memory of joining it, and of each study.

    python benchmarks/report_tables.py FOLDER [--n-scenes 10000 100000] [--seed 20261604]

Makes a run of 400 of the benchmark's groups with SEP and ProbaUNet, without outcomes, into FOLDER
(one that is there is taken), and repeats its scenes, numbered anew, until there are as many as
asked for: the same tidy tables as of so many blends, but for scenes that come again. They are
joined from the files of batches of 400 scenes, and each study makes its tables, in a process of its
own. Printed are CPU time, the memory that it takes on top of what is there at its peak (the tidy
tables, but for joining, which makes them), and a digest of the tables, which says whether another
version makes the same ones to the last bit.
"""

import argparse
import hashlib
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from rows import add_row

from btk_punet.evaluation.runs.batches import join_batches, read_summary, write_batch
from btk_punet.evaluation.runs.comparison import TIDY, Comparison
from btk_punet.evaluation.studies.base import Collected, Study

N_BLENDS = 400
# In a process of its own: the studies need no network, and this one forks.
MAKE = "from btk_punet import compare; compare({!r}, ['sep', 'probaunet'], n_blends={}, seed={}, " \
    "outcomes=False, report=False, progress=False)"  # fmt: skip


def main() -> None:
    """Measure, and print a table for each number of scenes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n-scenes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--seed", type=int, default=20_261_604)
    options = parser.parse_args()
    folder = str(options.folder.resolve())
    code = MAKE.format(folder, N_BLENDS, options.seed)
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    run = Comparison.load(folder)
    for n_scenes in options.n_scenes:
        collected = repeated(run.collected, n_scenes)
        held = sum(table.memory_usage(deep=True).sum() for table in collected.tidy.values())
        join = in_a_fork(partial(joined, run, write_parts(options.folder / "parts", collected)))
        rows = [{"what": "joining", **join}]
        rows += [
            {"what": study.anchor, **in_a_fork(partial(tables_of, study, collected))}
            for study in run.studies
            if study.anchor not in ("blends", "scenes")  # without outcomes; without tables
        ]
        table = pd.DataFrame(rows)
        print(f"\n{n_scenes:,} scenes, tidy tables of {held / 1e9:.2f} GB")
        print(table.to_string(index=False, float_format="{:.2f}".format), flush=True)
        total, peak = table["seconds"].sum(), table["peak_gb"].max()
        of = f"joining and tables of the report of {n_scenes:,} scenes"
        add_row(of, total, "CPU s", seed=options.seed, timed=True)
        add_row(f"{of}, memory", peak, "GB", seed=options.seed)


def repeated(run: Collected, n_scenes: int) -> Collected:
    """Return what would be collected if the scenes of a run came again and again."""
    copies = -(-n_scenes // run.n_scenes)
    tidy = {}
    for name, table in run.tidy.items():
        if "scene" not in table:  # sums
            tidy[name] = table
            continue
        number = np.repeat(np.arange(copies), len(table))
        longer = pd.concat([table] * copies, ignore_index=True)
        longer["scene"] += number * run.n_scenes
        tidy[name] = longer[longer["scene"] < n_scenes].reset_index(drop=True)
    return Collected(
        run.methods, n_scenes, tidy, run.rules, run.pixel_scale_arcsec, run.ms_per_blend
    )


def write_parts(folder: Path, run: Collected) -> Path:
    """Write the tables of a run as those of batches, and return their folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for number, first in enumerate(range(0, run.n_scenes, N_BLENDS)):
        tables = {}
        for name, table in run.tidy.items():
            if "scene" in table:
                table = table[table["scene"].between(first, first + N_BLENDS, inclusive="left")]
            tables[name] = table
        rest = {"run": "", "n_blends": N_BLENDS, "seconds": {}, "warnings": [], "set_aside": []}
        write_batch(folder, number, tables, rest)
    return folder


def joined(run: Comparison, folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the tables of all batches by name."""
    tidy = [*TIDY, *(table for study in run.studies for table in study.collects)]
    summaries = {
        int(path.name): read_summary(folder, int(path.name), "") for path in folder.iterdir()
    }
    tables, damaged = join_batches(folder, summaries, tidy, run.collected.methods)
    if damaged:
        raise SystemExit(f"damaged: {damaged}")
    yield from tables.items()


def tables_of(study: Study, run: Collected) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the tables of a study by name."""
    for table in study.tables(run):
        yield table.name, table.data


def in_a_fork(tables: Callable[[], Iterable[tuple[str, pd.DataFrame]]]) -> dict[str, float | str]:
    """Return CPU seconds, memory and digest of what makes tables."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(tables, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return {"seconds": float("nan"), "peak_gb": float("nan"), "digest": "out of memory?"}
    finally:
        process.join()


def _measure(tables: Callable[[], Iterable[tuple[str, pd.DataFrame]]], sender) -> None:
    before, start = _resident_gb(), time.process_time()
    found = list(tables())
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 - before
    digest = hashlib.sha256()
    for name, table in found:
        digest.update(" ".join([name, *table.columns]).encode())
        digest.update(pd.util.hash_pandas_object(table).to_numpy().tobytes())
    sender.send({"seconds": seconds, "peak_gb": peak, "digest": digest.hexdigest()[:12]})


def _resident_gb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


if __name__ == "__main__":
    main()
