"""Two runs in one folder at the same moment: one works, the other says at once that it is taken.

    python benchmarks/races.py              # 50 tries, half of them with other arguments

Each try starts two processes of `compare` in one empty folder. One must finish; the other must
fail with `RunExistsError`, or find the finished run of the same arguments. The tables must be those
of a run that nobody disturbed, byte for byte.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

TABLES = ("truth.parquet", "detections.parquet")
# Waits for a moment, so that both begin at once, whatever it took to start.
RUN = """
import sys, time
from btk_punet import compare
from btk_punet.errors import RunExistsError
output, seed, moment = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
time.sleep(max(moment - time.time(), 0))
try:
    compare(output, ["sep"], n_blends=12, batch_size=4, seed=seed, outcomes=False, report=False,
            progress=False)
except RunExistsError as error:
    print("refused", error)
else:
    print("done")
"""


def runs(folders_and_seeds, head_start_s):
    """Run `compare` in processes side by side; return what they printed."""
    moment = time.time() + head_start_s
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", RUN, str(folder), str(seed), str(moment)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for folder, seed in folders_and_seeds
    ]
    return [process.communicate()[0].strip() for process in processes]


def tables(folder):
    """Return the bytes of the tables of a run."""
    return [(folder / name).read_bytes() for name in TABLES]


def race(folder, seeds, quiet, head_start_s):
    """Run two in one folder; return how it ended, in words."""
    said = runs([(folder, seed) for seed in seeds], head_start_s)
    done = [seed for seed, words in zip(seeds, said, strict=True) if words == "done"]
    refused = [words for words in said if words.startswith("refused")]
    if len(done) + len(refused) != 2 or not done or len(set(done)) != 1:
        return f"WRONG: {said}"
    if tables(folder) != quiet[done[0]]:
        return "WRONG: other tables than those of a quiet run"
    if not refused:
        return "one worked, the other came when it was done"
    if "in use by" in refused[0]:
        return "one worked, the other was told by whom the folder is used"
    return "one worked, the other was told that the folder holds another run"


def main():
    """Race, and print how often it ended how."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tries", type=int, default=50)
    parser.add_argument("--head-start", type=float, default=8.0, help="time to start [s]")
    options = parser.parse_args()
    ended = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        quiet = {}
        for seed in (1, 2):
            runs([(folder / f"quiet-{seed}", seed)], 0.0)
            quiet[seed] = tables(folder / f"quiet-{seed}")
        for number in range(options.tries):
            seeds = (1, 1) if number % 2 == 0 else (1, 2)
            how = race(folder / f"race-{number}", seeds, quiet, options.head_start)
            ended["equal" if seeds[0] == seeds[1] else "other", how] += 1
    for (arguments, how), count in sorted(ended.items()):
        print(f"{count:4d}  {arguments} arguments: {how}")
    return 1 if any("WRONG" in how for _, how in ended) else 0


if __name__ == "__main__":
    sys.exit(main())
