"""The evaluation of a network: what its maps are worth on a set of scenes that it has not seen."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from btk_punet.deblending.noise import noise_normalised
from btk_punet.errors import InputError, RunExistsError
from btk_punet.evaluation.plotting.reliability import ReliabilityDisplay
from btk_punet.evaluation.runs.benchmark import benchmark_set
from btk_punet.evaluation.runs.confusion import ConfusionDisplay
from btk_punet.evaluation.runs.folder import package_versions
from btk_punet.evaluation.scoring.maps import MapScores
from btk_punet.figures import write_figure
from btk_punet.files import write_file, write_json
from btk_punet.model.proba_unet import ProbaUNet, open_network
from btk_punet.output import output_folder

RUN_FILE = "evaluation.json"
_PLOTS = ("confusion_matrix", "reliability")
_TABLES = ("classes", "confusion_matrix", "reliability", "summary")


@dataclass
class Evaluation:
    """What a network's maps are worth.

    Attributes:
        folder: Where the tables and plots are.
        scores: The figures (see `MapScores`).
        run: What is in ``evaluation.json``: model, scenes, samples, what was told of the density
            of sources, seed, versions, seconds, and the summary.
    """

    folder: Path
    scores: MapScores
    run: dict

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables that are written, by name.

        ``classes``: the classification report; ``confusion_matrix``; ``reliability``: one row per
        bin and ``map`` (the three classes where p(background) < 0.9, and ``centre``);
        ``summary``: one row per figure.
        """
        reliability = [
            table.assign(map=name) for name, table in self.scores.reliability_tables().items()
        ]
        joined = pd.concat(reliability, ignore_index=True)
        summary = self.scores.summary()
        return {
            "classes": self.scores.classes.report().reset_index(),
            "confusion_matrix": self.scores.classes.confusion_matrix().reset_index(),
            "reliability": joined[["map", *joined.columns.drop("map")]],
            "summary": pd.DataFrame({"figure": summary.keys(), "value": summary.values()}),
        }

    def __str__(self) -> str:
        head = (
            f"{self.run['model']} on {self.run['n_blends']} scenes of '{self.run['scenes']}', "
            f"{self.run['n_samples']} sample(s) each"
        )
        return f"{head}\n\n{self.scores}"


def evaluate(
    model: str | Path | ProbaUNet,
    output: str | Path,
    scenes: str = "groups",
    *,
    n_blends: int | None = None,
    n_samples: int = 16,
    seed: int = 0,
    cosmos_dir: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Evaluation:
    """Measure how good the class and centre maps of a network are.

    A network that is told how dense sources lie is told that of the scenes.

    Args:
        model: The network: a `ProbaUNet`, a folder that `ProbaUNet.save` wrote, or else the name
            of a preset.
        output: Folder that gets ``classes.csv`` (precision, recall, F1, IoU and support of each
            class), ``confusion_matrix`` (CSV and PNG), ``reliability`` (CSV and PNG),
            ``summary.csv`` and ``evaluation.json``.
        scenes: Name of a set of the benchmark.
        n_blends: Number of scenes, if fewer than the set has.
        n_samples: Samples of each image.
        seed: Seed of the samples; that of the scenes belongs to the set.
        cosmos_dir: Folder of real galaxies, for the set ``real``.
        overwrite: Whether to write over another evaluation in the folder.
        progress: Whether to show a progress bar.

    Returns:
        The evaluation, which prints as a report.

    Raises:
        InputError, InputTypeError: for arguments that cannot be used.
        RunExistsError: if the folder holds an evaluation.
    """
    output = output_folder(output)
    for name, value in [("n_blends", n_blends), ("n_samples", n_samples)]:
        if value is not None and (not isinstance(value, int | np.integer) or value < 1):
            raise InputError(f"{name} must be a whole number of at least 1, got {value!r}.")
    chosen = benchmark_set(scenes)
    _check_folder(output, overwrite)
    network, _ = open_network(model)
    generator = chosen.generator(cosmos_dir)
    told = generator.sampling_function.density_ratio if network.told_density else None
    n_blends = chosen.n_scenes if n_blends is None else min(int(n_blends), chosen.n_scenes)

    scores = MapScores()
    seconds = dict.fromkeys(("drawing", "network", "scores"), 0.0)
    with tqdm(total=n_blends, unit="blend", disable=not progress) as bar:
        for number, first in enumerate(range(0, n_blends, generator.batch_size)):
            size = min(generator.batch_size, n_blends - first)
            times = [time.perf_counter()]
            blend_batch = generator.draw_batch(number, size)
            times.append(time.perf_counter())
            samples = network.sample(
                noise_normalised(blend_batch), int(n_samples), seed, density_ratio=told
            )
            times.append(time.perf_counter())
            # The matrices of the information limit are small: threads only get in each other's way.
            with threadpool_limits(1):
                scores.add(blend_batch, samples)
            times.append(time.perf_counter())
            for part, spent in zip(seconds, np.diff(times), strict=True):
                seconds[part] += float(spent)
            bar.update(size)

    run = {
        "model": f"'{model}'" if isinstance(model, str | Path) else type(model).__name__,
        "config": network.get_config(),
        "weights": joblib.hash(network.get_weights()),
        "scenes": scenes,
        "n_blends": n_blends,
        "n_samples": int(n_samples),
        "density_ratio": told,
        "seed": int(seed),
        "versions": package_versions({}) | _network_versions(),
        "seconds": {part: round(spent, 2) for part, spent in seconds.items()},
        # JSON has neither NaN nor infinity.
        "summary": {
            name: value if math.isfinite(value) else None
            for name, value in scores.summary().items()
        },
    }
    evaluation = Evaluation(output, scores, run)
    _write(evaluation)
    return evaluation


def _network_versions() -> dict[str, str]:
    import keras  # here and not above: by now it is loaded, quietly

    backend = keras.backend.backend()
    return {"keras": keras.__version__, backend: import_module(backend).__version__}


def _check_folder(output: Path, overwrite: bool) -> None:
    names = [RUN_FILE, *(f"{n}.csv" for n in _TABLES), *(f"{n}.png" for n in _PLOTS)]
    there = [name for name in names if (output / name).exists()]
    if there and not overwrite:
        raise RunExistsError(
            f"'{output}' holds another evaluation ({', '.join(there[:3])}). Choose another output "
            "folder, or overwrite=True (--overwrite) to write over it."
        )


def _write(evaluation: Evaluation) -> None:
    for name, table in evaluation.tables.items():
        write_file(evaluation.folder / f"{name}.csv", table.to_csv(index=False).encode())
    matrix = ConfusionDisplay(evaluation.scores.classes.confusion_matrix())
    write_figure(
        lambda figure: matrix.plot(figure.subplots()),
        matrix.size_inches,
        evaluation.folder / "confusion_matrix.png",
    )
    reliability = ReliabilityDisplay(evaluation.scores.reliability_tables())
    write_figure(
        lambda figure: reliability.plot(figure.subplots()),
        reliability.size_inches,
        evaluation.folder / "reliability.png",
    )
    # Written last: it says that the evaluation is done.
    write_json(evaluation.run, evaluation.folder / RUN_FILE)
