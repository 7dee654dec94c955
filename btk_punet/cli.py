"""The command ``btk-punet``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from btk_punet import __version__
from btk_punet.errors import BtkPunetError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (BtkPunetError, OSError) as error:
        print(f"btk-punet: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("btk-punet: stopped; the same command goes on from here.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="btk-punet",
        description="Detectors of blended galaxies on Euclid-like images, through BTK.",
    )
    parser.add_argument("--version", action="version", version=f"btk-punet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_compare(commands)
    return parser


def _add_compare(commands) -> None:
    parser = commands.add_parser(
        "compare",
        help="run detectors on blends and write tables, plots and a report",
        description=(
            "Draw blends, run detectors on them, and write efficiency tables (Parquet, ECSV, CSV, "
            "LaTeX), plots and report.html. The same command on the same folder continues a run "
            "that was stopped."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(run=_compare)
    parser.add_argument("--output", "-o", type=Path, default=Path("comparison"), help="folder")
    parser.add_argument(
        "--deblenders",
        "-d",
        nargs="+",
        metavar="NAME[:KEY=VALUE,...]",
        help=(
            "sep, source-extractor, btk-peak-local-max, btk-sep-single-band, btk-sep-multi-band, "
            "btk-scarlet, with settings, as in sep:thresh=1.5,minarea=3 (default: sep, and "
            "source-extractor where it is installed; with --benchmark, sep at five settings)"
        ),
    )
    scenes = parser.add_argument_group("scenes")
    scenes.add_argument(
        "--benchmark",
        metavar="SET",
        help=(
            "scenes of the benchmark: groups, pairs, fields, real, deep, psf, or all (each in a "
            "folder of its own); the other options of the scenes are then not used"
        ),
    )
    scenes.add_argument(
        "--cosmos-dir",
        type=Path,
        help="folder of real galaxies in GalSim's format, for the benchmark set 'real'",
    )
    scenes.add_argument("--n-blends", "-n", type=int, help="number of blends (default: 1000)")
    scenes.add_argument(
        "--sampling", default="groups", choices=["groups", "pairs", "fields"], help="placing"
    )
    scenes.add_argument(
        "--catalog",
        default="simulate",
        help="simulate, cosmos:DIR (real HST galaxies), or the path of a CatSim-like table",
    )
    scenes.add_argument("--survey", default="euclid", help="euclid, or one of BTK's surveys")
    scenes.add_argument("--n-exposures", type=int, default=4, help="exposures of euclid")
    scenes.add_argument("--read-noise", type=float, default=4.4, help="electron, of euclid")
    scenes.add_argument("--psf", type=float, default=0.16, help="FWHM of euclid's PSF [arcsec]")
    scenes.add_argument("--seed", type=int, default=0, help="of catalog, scenes and noise")
    parser.add_argument("--jobs", "-j", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--batch-size", type=int, default=50, help="blends in a batch")
    parser.add_argument(
        "--overwrite", action="store_true", help="throw away another run in the output folder"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


def _compare(options: argparse.Namespace) -> int:
    # Imported here, so that --help and a mistyped option answer at once.
    from btk_punet.evaluation.benchmark import compare_benchmark
    from btk_punet.evaluation.compare import compare

    common = {
        "njobs": options.jobs,
        "overwrite": options.overwrite,
        "progress": not options.quiet,
    }
    if options.benchmark is not None:
        summary = compare_benchmark(
            options.output,
            options.benchmark,
            options.deblenders,
            n_blends=options.n_blends,
            cosmos_dir=options.cosmos_dir,
            **common,
        )
        print(summary.to_string(index=False, float_format="{:.3f}".format))
        print(f"\nTables, plots and reports: {options.output}")
        return 0
    result = compare(
        options.output,
        options.deblenders,
        survey=options.survey,
        n_exposures=options.n_exposures,
        read_noise=options.read_noise,
        psf=options.psf,
        catalog=options.catalog,
        sampling=options.sampling,
        n_blends=1000 if options.n_blends is None else options.n_blends,
        batch_size=options.batch_size,
        seed=options.seed,
        **common,
    )
    for note in result.run.get("notes", []):
        print(note)
    print(result)
    print(f"\nReport: {result.folder / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
