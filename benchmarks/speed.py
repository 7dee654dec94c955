"""Where the time of a comparison goes: drawing, detectors, evaluation, start-up, samples, shapes.

CPU milliseconds a blend of this process, all of its threads together, so that what else the
machine does matters little; the least of `--repeats` turns. Scenes are groups of up to six
galaxies on stamps of 64 pixels, in batches of 50, without outcomes and report.

    python benchmarks/speed.py [--parts startup drawing detectors evaluation samples shapes]
                               [--blends 400] [--repeats 3] [--seed 1] [--weights MODEL ...]

With other weights than the preset's the part "detectors" has rows of them as well.
"""

import argparse
import gc
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rows import add_row

PARTS = ("startup", "drawing", "detectors", "evaluation", "samples", "shapes")
BATCH_SIZE = 50
AIMS = {"ProbaUNet": "<= 12", "ProbaUNet, without light": "<= 6"}
# In the part "shapes": this many image shapes, of which each is compiled for, and then as many
# deblenders of one shape. Memory is measured over the second half: oneDNN keeps
# what it compiled for some 100 shapes, and no more.
N_SHAPES = 240


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--blends", type=int, default=400, help="a multiple of 50")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--weights", nargs="+", default=[], help="other weights to time")
    options = parser.parse_args()
    for part in options.parts:
        print(f"-- {part}", flush=True)
        globals()[f"print_{part}"](options)


def cpu_ms(work, repeats):
    """Return the least CPU time [ms] of a piece of work."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(1e3 * (time.process_time() - start))
    return min(times)


def row(name, value, unit="ms a blend", aim=""):
    print(f"{name:<44} {value:9.2f} {unit}", flush=True)
    if not name.startswith(" "):
        add_row(name, value, unit, aim, timed=unit != "MB")


def drawn(options, n_blends=None):
    from btk_punet.evaluation.runs.options import Scenes

    generator = Scenes(seed=options.seed, batch_size=BATCH_SIZE).generator()
    numbers = range((n_blends or options.blends) // BATCH_SIZE)
    return generator, [generator.draw_batch(number, BATCH_SIZE) for number in numbers]


def print_startup(options):
    for name, code in (
        ("import btk_punet", "import btk_punet"),
        ("btk_punet.compare", "import btk_punet; btk_punet.compare"),
        ("a network, loaded", "import btk_punet; btk_punet.ProbaUNetDeblender(20).network"),
        ("a network, first blend", _FIRST_BLEND),
    ):
        timed = "import time; start = time.process_time()\n" + code
        timed += "\nprint(1e3 * (time.process_time() - start))"
        command = [sys.executable, "-c", timed]
        runs = [
            subprocess.run(command, capture_output=True, text=True, check=True)
            for _ in range(options.repeats)
        ]
        row(name, min(float(run.stdout.split()[-1]) for run in runs), "ms")


_FIRST_BLEND = """
import btk_punet
from btk_punet.evaluation.runs.options import Scenes
batch = Scenes(batch_size=1).generator().draw_batch(0, 1)
start = time.process_time()
btk_punet.ProbaUNetDeblender(20)(batch)
"""


def print_drawing(options):
    generator, _ = drawn(options, BATCH_SIZE)  # fills caches
    numbers = range(options.blends // BATCH_SIZE)
    total = cpu_ms(lambda: [generator.draw_batch(n, BATCH_SIZE) for n in numbers], options.repeats)
    row("drawing", total / options.blends)


def print_detectors(options):
    generator, batches = drawn(options)
    for name, method in detectors(generator, options.weights).items():
        method(batches[0])
        total = cpu_ms(lambda m=method: [m(batch) for batch in batches], options.repeats)
        row(name, total / options.blends, aim=AIMS.get(name, ""))


def detectors(generator, others=()):
    from btk_punet import ProbaUNetDeblender, SepDeblender
    from btk_punet.deblending.base import told_scenes

    methods = {
        "SEP": SepDeblender(22),
        "ProbaUNet": ProbaUNetDeblender(22),
        "ProbaUNet, without light": ProbaUNetDeblender(22, light=False),
    }
    for weights in others:
        methods[f"ProbaUNet {weights}"] = ProbaUNetDeblender(22, weights)
        methods[f"ProbaUNet {weights}, without light"] = ProbaUNetDeblender(
            22, weights, light=False
        )
    return {name: told_scenes(method, generator) for name, method in methods.items()}


def print_evaluation(options):
    from btk_punet.evaluation.report.files import write_tables
    from btk_punet.evaluation.runs.comparison import TIDY
    from btk_punet.evaluation.scoring.matched import MatchedBatch
    from btk_punet.evaluation.studies.base import Collected
    from btk_punet.evaluation.studies.registry import STUDIES

    generator, batches = drawn(options)
    methods = {name: m for name, m in detectors(generator).items() if "," not in name}
    found = [{name: method(batch) for name, method in methods.items()} for batch in batches]
    studies = [study() for study in STUDIES if not study.runs_methods]
    seconds = {}
    total = []

    def evaluated():
        start, spent = time.process_time(), {}

        def lap(name):
            nonlocal start
            spent[name] = spent.get(name, 0) + 1e3 * (time.process_time() - start)
            start = time.process_time()

        kept = []
        for number, (batch, outputs) in enumerate(zip(batches, found, strict=True)):
            matched = MatchedBatch.match(batch, outputs, number * BATCH_SIZE, None, methods)
            lap("matching, information limits")
            tables = matched.tables()
            lap("candidates")
            for study in studies:
                tables |= study.collect(matched)
                lap(f"study {study.anchor}: collect")
            kept.append(tables)
        tidy = [*TIDY, *(table for study in studies for table in study.collects)]
        parts = {t.name: [tables[t.name] for tables in kept if t.name in tables] for t in tidy}
        joined = {t.name: t.joined(parts[t.name], list(methods)) for t in tidy if parts[t.name]}
        lap("joining")
        collected = Collected(list(methods), options.blends, joined)
        tables = []
        for study in studies:
            tables += study.tables(collected)
            lap(f"study {study.anchor}: tables")
        with tempfile.TemporaryDirectory() as folder:
            write_tables(tables, Path(folder))
        lap("writing tables")
        seconds.update({n: min(ms, seconds.get(n, np.inf)) for n, ms in spent.items()})
        total.append(sum(spent.values()))

    for _ in range(options.repeats):
        evaluated()
    for name, ms in seconds.items():
        if ms / options.blends >= 0.01:
            row(f"  {name}", ms / options.blends)
    row("evaluation of SEP and ProbaUNet", min(total) / options.blends)
    detected = cpu_ms(
        lambda: [m(batch) for m in methods.values() for batch in batches], options.repeats
    )
    row("evaluation over the detectors", min(total) / detected, "times", "<= 1")


def print_samples(options):
    from btk_punet import ProbaUNetDeblender

    _, batches = drawn(options, min(options.blends, 4 * BATCH_SIZE))
    times = {}
    for n_samples in (1, 16, 50):
        deblender = ProbaUNetDeblender(22, light=False, n_samples=n_samples)
        deblender(batches[0])
        total = cpu_ms(lambda d=deblender: [d(batch) for batch in batches], options.repeats)
        times[n_samples] = total / (BATCH_SIZE * len(batches))
        row(f"ProbaUNet without light, {n_samples} samples", times[n_samples])
    row("50 samples over one", times[50] / times[1], "times", "<= 2.5")


def print_shapes(options):
    from btk_punet import ProbaUNet, ProbaUNetDeblender
    from btk_punet.deblending.posterior import PosteriorMaps

    network = ProbaUNet.from_preset("euclid-vis")
    rng = np.random.default_rng(options.seed)
    _, (batch,) = drawn(options, BATCH_SIZE)

    def run_shape(number):
        size = 32 + 8 * (number % 10), 32 + 8 * (number // 10)
        images = rng.normal(size=(2, *size, 1)).astype(np.float32)
        PosteriorMaps.from_network(network, images, 2)

    def run_deblender(number):
        ProbaUNetDeblender(22, light=False, seed=number)(batch)

    for name, run in (
        ("a new shape of the images", run_shape),
        ("a new deblender, and 50 blends", run_deblender),
    ):
        for number in range(N_SHAPES // 2):
            run(number)
        before, start = memory_mb(), time.process_time()
        for number in range(N_SHAPES // 2, N_SHAPES):
            run(number)
        row(name, (memory_mb() - before) / (N_SHAPES / 2), "MB")
        row(name, 1e3 * (time.process_time() - start) / (N_SHAPES / 2), "ms")


def memory_mb():
    gc.collect()
    with open("/proc/self/status") as lines:  # Linux
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


if __name__ == "__main__":
    main()
