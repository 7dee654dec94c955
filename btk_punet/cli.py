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
    _add_train(commands)
    _add_evaluate(commands)
    _add_calibrate(commands)
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
            "sep, source-extractor, probaunet, btk-peak-local-max, btk-sep-single-band, "
            "btk-sep-multi-band, btk-scarlet, with settings, as in sep:thresh=1.5,minarea=3 or "
            "probaunet:weights=FOLDER,threshold=0.3 (default: sep, and source-extractor and "
            "probaunet where program and preset are installed; with --benchmark, sep at five "
            "settings, and probaunet)"
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
        "--outcomes",
        action=argparse.BooleanOptionalAction,
        help=(
            "whether to tell what becomes of blends, for which every detector runs once more on "
            "each source of a blend alone (default: yes; with --benchmark, no)"
        ),
    )
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
    if options.outcomes is not None:
        common["outcomes"] = options.outcomes
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


def _add_train(commands) -> None:
    parser = commands.add_parser(
        "train",
        help="train a network of your own, or the preset anew",
        description=(
            "Train a ProbaUNet on blends drawn as it learns. Checkpoints are written every minute "
            "or so: the same command on the same folder continues a run that was stopped. The "
            "weights come to lie in OUTPUT/model, the curves in OUTPUT/losses.png, and a sheet of "
            "predictions in OUTPUT/predictions.png."
        ),
    )
    parser.set_defaults(run=_train)
    parser.add_argument(
        "--output", "-o", type=Path, default=Path("training"), help="folder (default: training)"
    )
    parser.add_argument(
        "--preset", default="euclid-vis", help="whose choices to take (default: euclid-vis)"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="JSON file of choices, in place of a preset"
    )
    changes = parser.add_argument_group("choices to change")
    changes.add_argument("--n-stamps", "-n", type=int, help="stamps to see before the end")
    changes.add_argument("--batch-size", type=int, help="stamps in a step")
    changes.add_argument("--stamp-size", type=int, help="side of a stamp [pixel]")
    changes.add_argument("--learning-rate", type=float, help="of Adam, at its largest")
    changes.add_argument("--n-galaxies", type=int, help="galaxies drawn for Euclid's stamps")
    changes.add_argument(
        "--precision",
        choices=["auto", "float32", "bfloat16"],
        help="bfloat16 is faster where the processor has AMX; auto finds out",
    )
    changes.add_argument("--survey", help="euclid, or one of BTK's surveys, with --catalog")
    changes.add_argument("--catalog", help="CatSim-like table to draw for one of BTK's surveys")
    changes.add_argument(
        "--initial-weights",
        metavar="MODEL",
        help="start from these: folder of a network built alike, or a preset's name",
    )
    changes.add_argument("--seed", type=int, help="of galaxies, scenes, noise and first weights")
    parser.add_argument(
        "--jobs", "-j", type=int, default=os.cpu_count() or 1, help="processes that draw galaxies"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="throw away another run in the output folder"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


def _train(options: argparse.Namespace) -> int:
    from btk_punet.training.config import TrainingConfig
    from btk_punet.training.train import train

    if options.config is not None:
        config = TrainingConfig.from_file(options.config)
    else:
        config = TrainingConfig.from_preset(options.preset)
    names = (
        "n_stamps", "batch_size", "stamp_size", "learning_rate", "n_galaxies", "precision",
        "survey", "catalog", "initial_weights", "seed",
    )  # fmt: skip
    changes = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    train(
        options.output,
        config.changed(**changes),
        njobs=options.jobs,
        overwrite=options.overwrite,
        progress=not options.quiet,
    )
    print(f"Weights: {options.output / 'model'}")
    return 0


def _add_evaluate(commands) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="measure how good a network's class and centre maps are",
        description=(
            "Draw a set of the benchmark, let a network map it, and print and write the "
            "classification report, confusion matrix, calibration, log loss and the spread of the "
            "samples (CSV, PNG and evaluation.json)."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(run=_evaluate)
    parser.add_argument(
        "--model", "-m", default="euclid-vis", help="folder of a network, or a preset's name"
    )
    parser.add_argument("--output", "-o", type=Path, default=Path("evaluation"), help="folder")
    parser.add_argument(
        "--scenes",
        default="groups",
        metavar="SET",
        help="set of the benchmark: groups, pairs, fields, real, deep or psf",
    )
    parser.add_argument(
        "--cosmos-dir",
        type=Path,
        help="folder of real galaxies in GalSim's format, for the set 'real'",
    )
    parser.add_argument("--n-blends", "-n", type=int, help="fewer scenes than the set has")
    parser.add_argument("--n-samples", type=int, default=16, help="samples of each image")
    parser.add_argument("--seed", type=int, default=0, help="of the samples")
    parser.add_argument(
        "--overwrite", action="store_true", help="write over another evaluation in the folder"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


def _evaluate(options: argparse.Namespace) -> int:
    from btk_punet.evaluation.evaluate import evaluate

    evaluation = evaluate(
        options.model,
        options.output,
        options.scenes,
        n_blends=options.n_blends,
        n_samples=options.n_samples,
        seed=options.seed,
        cosmos_dir=options.cosmos_dir,
        overwrite=options.overwrite,
        progress=not options.quiet,
    )
    print(evaluation)
    print(f"\nTables and plots: {options.output}")
    return 0


def _add_calibrate(commands) -> None:
    parser = commands.add_parser(
        "calibrate",
        help="fit the probabilities of a network's detections",
        description=(
            "Draw Euclid-like scenes, let a network find the sources in them, and fit how its "
            "probabilities and position errors are to be read. The result is written beside the "
            "weights (detection.json), where ProbaUNetDeblender finds it."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(run=_calibrate)
    parser.add_argument("--model", "-m", required=True, help="folder of a trained network")
    parser.add_argument("--n-blends", "-n", type=int, default=3000, help="number of scenes")
    parser.add_argument("--n-samples", type=int, default=16, help="samples of each image")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


def _calibrate(options: argparse.Namespace) -> int:
    from btk_punet.evaluation.fit_recipe import fit_recipe

    recipe = fit_recipe(
        options.model,
        options.n_blends,
        n_samples=options.n_samples,
        progress=not options.quiet,
    )
    print(recipe)
    return 0


if __name__ == "__main__":
    sys.exit(main())
