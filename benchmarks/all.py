"""All benchmarks by one command, and their figures in one table.

    python benchmarks/all.py -o OUT [--quick] [--only NAME ...] [--cosmos-dir DIR]
        [--real-galaxies FILE] [--fields FIELDS_DIR]

Each script runs in a process of its own, one after the other, and leaves OUT/NAME.json (its rows),
and OUT/NAME.log (all that it printed). One that is there already, from the same command, is not run
again; one that fails is named at the end, and the others go on. Those that need data that is not
given are left out, and named. ``--quick`` takes few scenes: figures to look at, not to quote.

OUT/table.csv and OUT/table.md hold every row, ratios first, then shares, then the rest, with the
aim and whether it is met; times and speeds also say how busy the machine was (processes that ran or
waited, per core). OUT/machine.json says on which machine, and with which versions.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import pandas as pd
from rows import ROWS_FILE, Row, read_rows

from btk_punet import __version__
from btk_punet.files import write_file, write_json

HERE = Path(__file__).resolve().parent
PACKAGES = ("blending-toolkit", "numpy", "scipy", "galsim", "sep", "keras", "tensorflow")
FIRST_UNITS = ("times", "share")


@dataclass(frozen=True)
class Benchmark:
    """How a script is run.

    Attributes:
        quick: Its arguments with ``--quick``.
        whole: Its arguments without.
        needs: Arguments of this command that it is given first, by name; it is left out without.
        writes: Whether it is given a folder to write to, before all others.
    """

    quick: str = ""
    whole: str = ""
    needs: tuple[str, ...] = ()
    writes: bool = False


BENCHMARKS = {
    "generator": Benchmark("--batches 3"),
    "sampling": Benchmark(),
    "speed": Benchmark("--blends 100 --repeats 1"),
    "training_speed": Benchmark("--batch-size 64"),
    "training_data": Benchmark("--galaxies 400 --batches 10"),
    "scaling": Benchmark("--n-blends 100", writes=True),
    "report_tables": Benchmark("--n-scenes 2000", writes=True),
    "lost_workers": Benchmark("--n-blends 1600", writes=True),
    "sep_agreement": Benchmark("--scenes 50"),
    "symmetry": Benchmark("--n-blends 30"),
    "density": Benchmark("--n-batches 1"),
    "blend_identification": Benchmark("--scenes 64", "--scenes 1000"),
    "generalisation": Benchmark("--scenes 100"),
    "light": Benchmark("--scenes 50 --scarlet2 0 --sets groups"),
    "light_causes": Benchmark("--scenes 50 --sets groups"),
    "whole_image": Benchmark("--sizes 256 512", writes=True),
    "masked_images": Benchmark("--size 256 --n-fields 1"),
    "real_galaxies": Benchmark(needs=("cosmos_dir",)),
    "real_galaxies_alone": Benchmark("--angles 2", needs=("cosmos_dir",)),
    "real_galaxies_held_out": Benchmark("--n-galaxies 50", needs=("real_galaxies",)),
    "weights": Benchmark("--n-blends 50 --sets groups", needs=("real_galaxies",), writes=True),
    "real_fields": Benchmark("--realisations 1", needs=("fields",)),
}
# `weights` knows the file by an option.
OPTIONS = {("weights", "real_galaxies"): "--real-galaxies"}


def main() -> int:
    """Run what is to be run, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    parser.add_argument("--quick", action="store_true", help="few scenes")
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), metavar="NAME")
    parser.add_argument("--cosmos-dir", type=Path, help="real galaxies in GalSim's format")
    parser.add_argument("--real-galaxies", type=Path, help="real galaxies that training reads")
    parser.add_argument("--fields", type=Path, help="deep images, see real_fields.py")
    options = parser.parse_args()
    output = options.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    write_json(machine(), output / "machine.json")
    failed, left_out = [], []
    for name in options.only or BENCHMARKS:
        arguments = arguments_of(name, options, output)
        if arguments is None:
            left_out.append(f"{name} ({', '.join(BENCHMARKS[name].needs)})")
        elif not run(name, arguments, output):
            failed.append(name)
    table = gathered(output)
    write_file(output / "table.csv", table.to_csv(index=False).encode())
    text = f"{measured_on(output, options.quick)}\n\n{markdown(table)}"
    write_file(output / "table.md", text.encode())
    print(text)
    if left_out:
        print("Left out for want of data:", ", ".join(left_out))
    if failed:
        print("Failed:", ", ".join(f"{name} (see {output / name}.log)" for name in failed))
    return 1 if failed else 0


def arguments_of(name: str, options: argparse.Namespace, output: Path) -> list[str] | None:
    """Return the arguments of a script, or None if data that it needs is not given."""
    benchmark = BENCHMARKS[name]
    arguments = [str(output / f"{name}.files")] if benchmark.writes else []
    for need in benchmark.needs:
        given = getattr(options, need)
        if given is None:
            return None
        option = OPTIONS.get((name, need))
        arguments += [option] if option else []
        arguments.append(str(given.absolute()))
    return arguments + shlex.split(benchmark.quick if options.quick else benchmark.whole)


def run(name: str, arguments: list[str], output: Path) -> bool:
    """Run a script unless its rows are there; return whether they are."""
    command = shlex.join(["python", f"benchmarks/{name}.py", *arguments])
    command = command.replace(f"{output}{os.sep}", "")  # which differs from machine to machine
    done = output / f"{name}.json"
    if done.is_file() and json.loads(done.read_text())["command"] == command:
        print(f"{name}: there already")
        return True
    print(f"{name}: {command}", flush=True)
    rows = output / f"{name}.rows"
    for path in (rows, done):
        path.unlink(missing_ok=True)
    start = time.monotonic()
    with (output / f"{name}.log").open("w") as log:
        status = subprocess.run(
            [sys.executable, str(HERE / f"{name}.py"), *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {ROWS_FILE: str(rows)},
            cwd=output,
        ).returncode
    seconds = time.monotonic() - start
    if status:
        print(f"{name}: failed with status {status} after {seconds:.0f} s", flush=True)
        return False
    write_json(
        {
            "command": command,
            "date": datetime.now(timezone.utc).date().isoformat(),
            "seconds": round(seconds, 1),
            "load_per_core": round(os.getloadavg()[1] / (os.cpu_count() or 1), 1),
            "rows": [asdict(each) for each in read_rows(rows)],
        },
        done,
    )
    rows.unlink(missing_ok=True)
    return True


def gathered(output: Path) -> pd.DataFrame:
    """Return the rows of all scripts that are there: ratios first, then shares, then the rest."""
    rows = []
    for name in BENCHMARKS:
        path = output / f"{name}.json"
        if not path.is_file():
            continue
        content = json.loads(path.read_text())
        for each in (Row(**given) for given in content["rows"]):
            place = FIRST_UNITS.index(each.unit) if each.unit in FIRST_UNITS else len(FIRST_UNITS)
            load = content["load_per_core"] if each.timed else None
            rows.append(
                {"place": place, "benchmark": name, "figure": each.figure, "value": each.value}
                | {"unit": each.unit, "aim": each.aim, "met": each.met, "seed": each.seed}
                | {"load_per_core": load, "date": content["date"], "command": content["command"]}
            )
    columns = ["place", "benchmark", "figure", "value", "unit", "aim", "met", "seed"]
    table = pd.DataFrame(rows, columns=[*columns, "load_per_core", "date", "command"])
    table["seed"] = table["seed"].astype("Int64")
    return table.sort_values("place", kind="stable").drop(columns="place")


def markdown(table: pd.DataFrame) -> str:
    """Return the table in Markdown, without commands and dates."""
    shown = ["benchmark", "figure", "value", "unit", "aim", "met", "load_per_core"]
    lines = ["| " + " | ".join(name.replace("_", " ") for name in shown) + " |"]
    lines.append("|" + "---|" * len(shown))
    for each in table[shown].itertuples(index=False):
        met = {True: "yes", False: "no"}.get(each.met, "")
        load = "" if pd.isna(each.load_per_core) else f"{each.load_per_core:.1f}"
        cells = [f"`{each.benchmark}`", each.figure, f"{each.value:.3g}", each.unit, each.aim]
        lines.append("| " + " | ".join([*cells, met, load]) + " |")
    return "\n".join(lines) + "\n"


def measured_on(output: Path, quick: bool) -> str:
    """Return the machine in a sentence."""
    held = json.loads((output / "machine.json").read_text())
    scenes = "few scenes (`--quick`)" if quick else "all scenes"
    return (
        f"Measured on {held['cores']} cores of {held['processor']}, {held['memory_gb']:g} GB, "
        f"Python {held['python']}, TensorFlow {held['tensorflow']}, NumPy {held['numpy']}, with "
        f"{scenes}."
    )


def machine() -> dict:
    """Return what the figures were measured on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor()
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError):
        memory = float("nan")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gb": round(memory, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "btk_punet": __version__,
        **{name: metadata.version(name) for name in PACKAGES},
    }


if __name__ == "__main__":
    sys.exit(main())
