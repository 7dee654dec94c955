"""The folder of a run: what it holds, and whether it is the same run."""

import json
import platform
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import galsim
import joblib
import numpy as np
from astropy.table import Table
from btk.deblend import Deblender

from btk_punet import __version__
from btk_punet.deblending.base import class_path, fingerprint, installed_versions, versions
from btk_punet.errors import BtkPunetWarning, RunExistsError
from btk_punet.evaluation.runs.set_aside import FAILURES
from btk_punet.evaluation.scoring.rules import Rules
from btk_punet.files import write_json
from btk_punet.folder_lock import LOCK_FILE, locked
from btk_punet.simulation.scenes import SceneGenerator
from btk_punet.simulation.survey import background_variance

_PACKAGES = (
    "blending_toolkit",
    "GalSim",
    "sep",
    "astropy",
    "numpy",
    "scipy",
    "pandas",
    "surveycodex",
)

# What a run leaves in its folder besides its Parquet files; a finished one leaves no batches.
_FOLDERS = ("batches", "tables", "plots")
# The tables that every comparison has.
NEEDED_TABLES = ("truth.parquet", "detections.parquet")


@contextmanager
def only_run(output: Path) -> Iterator[None]:
    """Keep other processes out of the folder of a run.

    Raises:
        RunExistsError: if another process is in it, or it holds files that are not of a run.
    """
    _run_there(output)  # before the lock is made, which is a file
    with locked(output / LOCK_FILE):
        yield


def _run_there(output: Path) -> dict | None:
    """Return what the ``run.json`` of a folder holds, None for a new or empty folder."""
    run = read_run(output)
    if run is None and output.exists() and any(p.name != LOCK_FILE for p in output.iterdir()):
        raise RunExistsError(
            f"'{output}' is not empty and holds no run of btk-punet: choose another output folder."
        )
    return run


def open_run(output: Path, run: dict, overwrite: bool) -> bool:
    """Make the folder of a run, or resume the same one; tell whether it is finished already.

    Args:
        output: The folder.
        run: What will be in ``run.json``.
        overwrite: Whether to throw away another run.

    Raises:
        RunExistsError: if the folder holds another run, or files that are not of a run.
    """
    before = _run_there(output)
    finished = (before or {}).get("status") in ("finished", "shard")
    differences = [] if before is None else _differences(before, run, finished)
    # Of a run that has not finished a batch nothing is lost.
    started = (output / "batches").is_dir() or finished
    if differences and started and not overwrite:
        more = f"; and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise RunExistsError(
            f"'{output}' holds another run ({'; '.join(differences[:5])}{more}). Choose another "
            "output folder, or overwrite=True (--overwrite) to throw that run away."
        )
    if before is not None and not overwrite and not differences:
        # A shard looks for itself whether its batches are there.
        whole = before.get("status") == "finished" and not before.get("incomplete")
        if whole and all((output / name).is_file() for name in before.get("files", NEEDED_TABLES)):
            return True
        changed = _changed(before.get("versions", {}), run["versions"])
        if changed and started:
            warnings.warn(
                f"The run in '{output}' was begun with other versions ({'; '.join(changed)}): its "
                "batches may not agree in the last digits.",
                BtkPunetWarning,
                stacklevel=3,
            )
    output.mkdir(parents=True, exist_ok=True)
    # First, so that a kill in between leaves no finished run without its tables.
    write_json(run, output / "run.json")
    if before is not None and (overwrite or differences):
        for name in _FOLDERS:
            shutil.rmtree(output / name, ignore_errors=True)
        for name in (*before.get("files", NEEDED_TABLES), FAILURES):
            (output / Path(name).name).unlink(missing_ok=True)
    # That of a run that is gone on with tells what was missing then.
    (output / "report.html").unlink(missing_ok=True)
    return False


def _differences(before: dict, run: dict, finished: bool) -> list[str]:
    """Return in what two runs differ that decides on their tables.

    Args:
        before: The run that is there.
        run: The run that is wanted.
        finished: Whether the run that is there is finished: one that is not may resume without
            the outcomes of blends, as where these make it fail.
    """
    parts = ("parameters", "methods")
    there, here = ({part: of.get(part) or {} for part in parts} for of in (before, run))
    for of, own in ((before, there), (run, here)):
        if of.get("shard"):
            own["shard"] = of["shard"]
    if not finished and here["parameters"].get("outcomes") is False and there["parameters"]:
        there["parameters"] = there["parameters"] | {"outcomes": False}
    return _changed(there, here)


def _changed(before: object, now: object, key: str = "") -> list[str]:
    """Return the leaves in which two nested dicts differ, as text."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for name in dict.fromkeys([*before, *now])
            for line in _changed(before.get(name), now.get(name), name)
        ]
    # As JSON holds them, in which NaN equals NaN.
    there, here = json.dumps(before), json.dumps(now)
    if there == here:
        return []
    if isinstance(before, dict) or isinstance(now, dict):
        return [f"{key}: {'only there' if isinstance(before, dict) else 'only now'}"]
    return [f"{key}: {there} there, {here} now"]


def describe_scenes(generator: SceneGenerator, n_blends: int, rules: Rules) -> dict:
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
            "psf": _psf_fingerprint(psf),
        }
    sampling = generator.sampling_function
    return {
        "generator": type(generator).__name__,
        "catalog": {
            "class": generator.catalog.name,
            "n_sources": len(generator.catalog.table),
            "contents": _table_fingerprint(generator.catalog.table),
        },
        "sampling": {
            "class": type(sampling).__name__,
            **_plain(vars(sampling)),
            # What is not among the attributes above shows in what is sampled.
            "first_scene": _table_fingerprint(generator._sample(0)),
        },
        "survey": {
            "name": survey.name,
            "n_exposures": getattr(survey, "n_exposures", None),
            "read_noise_electron": getattr(survey, "read_noise", None),
            "bands": bands,
        },
        "add_noise": generator.add_noise,
        "apply_shear": generator.apply_shear,
        "augment_data": generator.augment_data,
        "sky_residual_sigma": generator.sky_residual_sigma,
        "seed": generator.seed,
        "n_blends": n_blends,
        "batch_size": generator.batch_size,
        "radius_arcsec": rules.radius_arcsec,
        "min_snr": rules.min_snr,
        "mag_bins": _edges(rules.mag_bins),
        "distance_bins": _edges(rules.distance_bins),
    }


def _edges(edges: Sequence[float] | None) -> list[float | str] | None:
    """Return bin edges as JSON can hold them, which knows no infinity."""
    if edges is None:
        return None
    return [edge if np.isfinite(edge) else str(edge) for edge in edges]


def describe_deblender(deblender: Deblender) -> dict:
    """Return class and parameters of a deblender, for ``run.json``.

    Raises:
        InputError: if something that it reads is not there, such as the weights of a network.
        InputTypeError: if its hook `fingerprint` returns no dict.
    """
    parameters = fingerprint(deblender)
    return {
        "class": class_path(deblender),
        "parameters": _plain(parameters),
        "contents": _fingerprint(parameters),
    }


def _table_fingerprint(table: Table) -> str:
    """Return a hash of the numbers of a table, to a precision that all machines share."""
    columns = {
        name: np.round(np.asarray(table[name], float), 6)
        for name in table.colnames
        if table[name].dtype.kind in "biuf"
    }
    return _fingerprint(columns)


def _psf_fingerprint(psf: galsim.GSObject) -> str:
    """Return a hash of the shape of a PSF."""
    thumbnail = psf.drawImage(nx=9, ny=9, scale=0.5 * round(float(psf.calculateFWHM()), 3))
    return _fingerprint(np.round(thumbnail.array.astype(float), 4) + 0.0)  # no negative zeros


def _fingerprint(thing: object) -> str:
    try:
        return joblib.hash(thing)
    except Exception:  # whatever a user's object does when it is pickled
        return "unknown"


def _plain(values: Mapping[str, object]) -> dict:
    """Return those attributes of an object that JSON can hold."""
    plain: dict[str, object] = {}
    for key, value in sorted(values.items()):
        if key.startswith("_"):
            continue
        if isinstance(value, Mapping):
            plain[key] = _plain(value)
        elif isinstance(value, np.generic):
            plain[key] = value.item()
        elif isinstance(value, bool | int | float | str | None):
            plain[key] = value
    return plain


def package_versions(methods: dict[str, Deblender]) -> dict[str, str]:
    """Return the versions of everything that a run depends on."""
    found = {"python": platform.python_version(), "btk_punet": __version__}
    found |= installed_versions(*_PACKAGES)
    for method in methods.values():
        found |= versions(method)
    return found


def read_run(folder: Path) -> dict | None:
    """Return what ``run.json`` holds, None where there is none."""
    path = folder / "run.json"
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise RunExistsError(
            f"'{path}' is not the JSON file of a run ({error}): choose another output folder."
        ) from error
