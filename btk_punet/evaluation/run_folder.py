"""The folder of a run: what it holds, and whether it is the same run."""

import io
import json
import platform
import shutil
from importlib import metadata
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from btk.deblend import Deblender

from btk_punet.deblending.source_extractor import SourceExtractorDeblender
from btk_punet.errors import RunExistsError
from btk_punet.evaluation.export import write_file
from btk_punet.simulation.scenes import SceneGenerator
from btk_punet.simulation.survey import background_variance

_PACKAGES = (
    "btk_punet",
    "blending_toolkit",
    "GalSim",
    "sep",
    "astropy",
    "numpy",
    "scipy",
    "pandas",
    "surveycodex",
)

# What a run leaves in its folder; the batches go when it is finished.
_FOLDERS = ("batches", "tables", "plots")
_FILES = ("truth.parquet", "detections.parquet", "report.html", "run.json")


def open_run(output: Path, run: dict, overwrite: bool) -> bool:
    """Make the folder of a run, or go on with the same one; tell whether it is finished already.

    Args:
        output: The folder.
        run: What will be in ``run.json``.
        overwrite: Whether to throw away another run.

    Raises:
        RunExistsError: if the folder holds another run, or files that are not of a run.
    """
    before = read_run(output)
    if before is None and output.exists() and any(output.iterdir()):
        raise RunExistsError(
            f"'{output}' is not empty and holds no run of btk-punet: choose another output folder."
        )
    if before is not None:
        differences = _differences(before, run)
        if not differences and not overwrite:
            if before.get("status") == "finished":
                return True
        elif not overwrite:
            raise RunExistsError(
                f"'{output}' holds another run ({'; '.join(differences)}). Choose another output "
                "folder, or overwrite=True (--overwrite) to throw that run away."
            )
        else:
            for name in _FOLDERS:
                shutil.rmtree(output / name, ignore_errors=True)
            for name in _FILES:
                (output / name).unlink(missing_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    write_json(run, output / "run.json")
    return False


def _differences(before: dict, run: dict) -> list[str]:
    """Return in what two runs differ that decides on their tables."""
    return [
        f"{key}: {before.get(part, {}).get(key)!r} there, {run[part].get(key)!r} now"
        for part in ("parameters", "methods")
        for key in sorted({*before.get(part, {}), *run[part]})
        if before.get(part, {}).get(key) != run[part].get(key)
    ]


def describe_scenes(generator: SceneGenerator, n_blends: int, radius_arcsec: float) -> dict:
    """Return what the scenes of a run depend on, and nothing else, for ``run.json``."""
    (survey,) = generator.surveys.values()
    bands = {}
    for name, psf in zip(
        survey.available_filters, generator._get_psf_from_survey(survey), strict=True
    ):
        filt = survey.get_filter(name)
        bands[name] = {
            "zeropoint_mag": float(filt.zeropoint.to_value("mag")),
            "full_exposure_time_s": float(filt.full_exposure_time.to_value("s")),
            "background_variance_electron2": round(background_variance(survey, filt), 3),
            "psf_fwhm_arcsec": round(float(psf.calculateFWHM()), 3),
        }
    sampling = generator.sampling_function
    # The sources of one scene tell any other catalog, sampling or seed.
    first = generator._sample(0).to_pandas().select_dtypes("number").round(6)
    return {
        "generator": type(generator).__name__,
        "catalog": f"{generator.catalog.name}, {len(generator.catalog.table)} sources",
        "sampling": {"class": type(sampling).__name__, **_plain_attributes(sampling)},
        "survey": {
            "name": survey.name,
            "n_exposures": getattr(survey, "n_exposures", None),
            "read_noise_electron": getattr(survey, "read_noise", None),
            "bands": bands,
        },
        "add_noise": generator.add_noise,
        "augment_data": generator.augment_data,
        "seed": generator.seed,
        "n_blends": n_blends,
        "batch_size": generator.batch_size,
        "radius_arcsec": radius_arcsec,
        "first_scene": joblib.hash(first.to_csv(index=False)),
    }


def describe_deblender(deblender: Deblender) -> dict:
    """Return class and parameters of a deblender, for ``run.json``."""
    kind = type(deblender)
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "parameters": _plain_attributes(deblender),
    }


def _plain_attributes(thing: object) -> dict:
    """Return the attributes of an object that JSON can hold."""
    return {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in sorted(vars(thing).items())
        if not key.startswith("_")
        and isinstance(value, bool | int | float | str | np.generic | None)
        and value not in (np.inf, -np.inf)
    }


def package_versions(methods: dict[str, Deblender]) -> dict[str, str]:
    """Return the versions of everything that a run depends on."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # run from a checkout
            versions[package] = "not installed"
    for method in methods.values():
        if isinstance(method, SourceExtractorDeblender):
            versions["source-extractor"] = method.version()
    return versions


def read_run(folder: Path) -> dict | None:
    """Return what ``run.json`` holds, None where there is none."""
    path = folder / "run.json"
    return json.loads(path.read_text()) if path.is_file() else None


def batch_file(folder: Path, number: int, ending: str) -> Path:
    """Return the path of one of the files of a batch."""
    return folder / f"{number:06d}.{ending}"


def write_json(content: dict, path: Path) -> None:
    """Write a JSON file, whole or not at all."""
    write_file(path, (json.dumps(content, indent=2) + "\n").encode())


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a Parquet file, whole or not at all."""
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    write_file(path, content.getvalue())
