"""``btk-punet train``."""

import argparse
import os
from pathlib import Path


def add(commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "train",
        help="train a network of your own, or the preset again",
        description=(
            "Train a ProbaUNet on blends drawn on the fly. Checkpoints are written every minute "
            "or so: the same command on the same folder continues a run that was stopped. The "
            "weights are written to OUTPUT/model, the curves to OUTPUT/losses.png, and a sheet of "
            "predictions to OUTPUT/predictions.png."
        ),
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--output", "-o", type=Path, default=Path("training"), help="folder (default: training)"
    )
    parser.add_argument(
        "--preset", default="euclid-vis", help="preset whose choices are used (default: euclid-vis)"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="JSON file of choices, instead of a preset"
    )
    changes = parser.add_argument_group("choices to change")
    changes.add_argument("--n-stamps", "-n", type=int, help="stamps to see before the end")
    changes.add_argument("--batch-size", type=int, help="stamps in a step")
    changes.add_argument(
        "--batch-parts",
        type=int,
        metavar="N",
        help="parts of a batch that devices share: a multiple of their number (default: 1)",
    )
    changes.add_argument("--stamp-size", type=int, help="side of a stamp [pixel]")
    changes.add_argument("--learning-rate", type=float, help="peak learning rate of Adam")
    changes.add_argument("--n-galaxies", type=int, help="galaxies drawn for Euclid's stamps")
    changes.add_argument(
        "--precision",
        choices=["auto", "float32", "bfloat16"],
        help="bfloat16 is faster where the processor has it (AMX, AVX-512); auto finds out",
    )
    changes.add_argument("--survey", help="euclid, or one of BTK's surveys, with --catalog")
    changes.add_argument("--catalog", help="CatSim-like table to draw for one of BTK's surveys")
    changes.add_argument(
        "--real-galaxies", metavar="FILE", help="images of real galaxies (.npz) to draw, too"
    )
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
        "--distribute",
        choices=["gpus", "machines"],
        help=(
            "train on all GPUs of this machine, or with the other processes of TF_CONFIG, in each "
            "of which the same command is started; needs --batch-parts"
        ),
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="discard another run in the output folder"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from btk_punet.training.config import TrainingConfig
    from btk_punet.training.train import train

    if options.config is not None:
        config = TrainingConfig.from_file(options.config)
    else:
        config = TrainingConfig.from_preset(options.preset)
    names = (
        "n_stamps", "batch_size", "batch_parts", "stamp_size", "learning_rate", "n_galaxies",
        "precision", "survey", "catalog", "real_galaxies", "initial_weights", "seed",
    )  # fmt: skip
    changes = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    if options.config is None and changes.get("survey", "euclid") != "euclid":
        # Blends that BTK draws do not say how dense their sources lie.
        changes["model"] = {k: v for k, v in config.model.items() if k != "told_density"}
    train(
        options.output,
        config.changed(**changes),
        njobs=options.jobs,
        overwrite=options.overwrite,
        progress=not options.quiet,
        distribute=options.distribute,
    )
    print(f"Weights: {options.output / 'model'}")
    return 0
