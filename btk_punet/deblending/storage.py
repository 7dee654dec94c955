"""Blend batches and what deblenders made of them as HDF5 files, one per batch, read back equal.

BTK's own ``save`` drops ``extra_data`` and the survey's parameters, and keeps a PSF only as an
image of the stamp. A file here holds all of a batch:

- ``blend``: images, isolated images, catalogs, survey with every parameter of its filters, PSF.
- ``methods``: the ``DeblendBatch`` of each method, ``extra_data`` included.
- ``drawn_from``: how to draw the batch again.

Arrays come back bit for bit with their dtype, tables with units, and PSFs that are profiles of
GalSim equal (`psf_text` says how, and what becomes of others). The PSF of a filter is the one that
the batch was drawn with, also where the survey had a function. Reading a file runs nothing in it.
"""

import dataclasses
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, overload

import galsim
import h5py
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.survey import Filter, Survey

from btk_punet import __version__
from btk_punet.deblending.hdf5_values import read_value, write_value
from btk_punet.deblending.psf_text import psf_from_text, psf_to_text
from btk_punet.errors import BtkPunetWarning, InputError, InputTypeError
from btk_punet.files import write_file
from btk_punet.hdf5 import check_self_contained
from btk_punet.simulation.survey import pixel_scale_arcsec

MeasuredBatch: TypeAlias = tuple[BlendBatch, dict[str, DeblendBatch]]

_FORMAT, _FORMAT_VERSION = "btk_punet measured batch", 1
_FILE_NAME = re.compile(r"batch_(\d{6,})\.h5")
_GROWTH_BYTES = 1 << 22  # by which the file grows in memory


class MeasuredBatches(Sequence[MeasuredBatch]):
    """Saved batches, each read when it is asked for.

    Iterating gives ``(blend_batch, {name: DeblendBatch})`` in the order of the batch numbers; a
    slice gives `MeasuredBatches`.

    Attributes:
        paths: The files.
        batch_numbers: Their numbers in the run, which skip batches that could not be drawn.
    """

    def __init__(self, paths: Sequence[Path]):
        self.paths = list(paths)
        self.batch_numbers = [_batch_number(path) for path in self.paths]

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> MeasuredBatch: ...

    @overload
    def __getitem__(self, index: slice) -> "MeasuredBatches": ...

    def __getitem__(self, index):
        if isinstance(index, slice):
            return MeasuredBatches(self.paths[index])
        return read_batch(self.paths[index])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} batches)"


def batch_file(folder: Path, number: int) -> Path:
    """Return the path of a batch."""
    return folder / f"batch_{number:06d}.h5"


def batch_files(folder: Path, first: int = 0) -> list[Path]:
    """Return the files of finished batches with a number of at least `first`, in their order."""
    numbered = [
        (_batch_number(path), path)
        for path in folder.iterdir()
        if _FILE_NAME.fullmatch(path.name) and path.is_file()
    ]
    return [path for number, path in sorted(numbered) if number >= first]


def write_batch(
    path: Path,
    blend_batch: BlendBatch,
    deblended: dict[str, DeblendBatch],
    drawn_from: str = "",
) -> None:
    """Write a batch, whole or not at all.

    Args:
        path: The file.
        blend_batch: The blends.
        deblended: What each method made of them.
        drawn_from: How to draw the batch again, in words.

    Raises:
        InputTypeError: for extra data that is neither plain Python nor NumPy nor astropy, or a
            PSF that is not a GalSim object.
        InputError: for a unit that astropy cannot read back.

    Warns:
        BtkPunetWarning: if a PSF has no exact text, and a fine image of it is saved.
    """
    content = {
        "blend": _describe_blends(blend_batch),
        "methods": {name: _fields(found) for name, found in deblended.items()},
        "drawn_from": drawn_from,
    }
    # In memory first: HDF5 writes in many places of a file, and what is not whole has no use.
    with h5py.File(
        path.name, "w", driver="core", backing_store=False, block_size=_GROWTH_BYTES
    ) as file:
        file.attrs["format"] = _FORMAT
        file.attrs["format_version"] = _FORMAT_VERSION
        file.attrs["btk_punet_version"] = __version__
        for name, part in content.items():
            write_value(file, name, part)
        file.flush()
        image = file.id.get_file_image()
    write_file(path, image)


def read_batch(path: str | Path) -> MeasuredBatch:
    """Return the blends of a file, and what each method made of them.

    Raises:
        InputError: if the file is damaged, is not one of `write_batch`, was written by a newer
            version, or does not hold all of itself (see `check_self_contained`).
    """
    try:
        with h5py.File(path, "r") as file:
            _check_format(file, path)
            check_self_contained(file)
            deblended = {
                name: DeblendBatch(**fields) for name, fields in read_value(file["methods"]).items()
            }
            return _restore_blends(read_value(file["blend"])), deblended
    except InputError:
        raise
    except Exception as error:  # h5py has many kinds for a damaged file
        raise InputError(
            f"'{path}' is damaged, or is not a file of MeasureGenerator ({type(error).__name__}: "
            f"{error}). Remove it, and draw and save that batch again."
        ) from error


def _check_format(file: h5py.File, path: str | Path) -> None:
    if file.attrs.get("format") != _FORMAT:
        raise InputError(
            f"'{path}' is an HDF5 file of another kind: expected one that MeasureGenerator saved."
        )
    version = int(file.attrs["format_version"])
    if version > _FORMAT_VERSION:
        raise InputError(
            f"'{path}' has version {version} of the format, this btk_punet {__version__} reads "
            f"versions up to {_FORMAT_VERSION}. It was written by btk_punet "
            f"{file.attrs.get('btk_punet_version')}: install that, or a later one."
        )


def _batch_number(path: Path) -> int:
    return int(path.stem.removeprefix("batch_"))


def _fields(thing: Any) -> dict:
    return {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}


def _describe_blends(blend_batch: BlendBatch) -> dict:
    survey = blend_batch.survey
    bands = dict(zip(survey.available_filters, blend_batch.psf, strict=True))
    return {
        **_fields(blend_batch),
        "survey": {
            **{name: value for name, value in vars(survey).items() if name != "_filters"},
            "_filters": {
                band: {name: value for name, value in vars(filt).items() if name != "psf"}
                for band, filt in survey._filters.items()
            },
        },
        "psf": [_describe_psf(psf, band, survey) for band, psf in bands.items()],
    }


def _describe_psf(psf: galsim.GSObject, band: str, survey: Survey) -> dict:
    if not isinstance(psf, galsim.GSObject):
        raise InputTypeError(
            f"The PSF of {survey.name} {band} is a {type(psf).__name__}, expected a "
            "galsim.GSObject (BlendBatch.load of BTK gives images instead). Make it one with "
            "galsim.InterpolatedImage(image, scale=...)."
        )
    text, arrays, exact = psf_to_text(psf, pixel_scale_arcsec(survey))
    if not exact:
        warnings.warn(
            f"The PSF of {survey.name} {band} ({type(psf).__name__}) has no exact text: a fine "
            "image of it is saved, and will be interpolated.",
            BtkPunetWarning,
            stacklevel=2,
        )
    return {"text": text, "arrays": arrays, "exact": exact}


def _restore_blends(fields: dict) -> BlendBatch:
    psfs = [psf_from_text(psf["text"], psf["arrays"]) for psf in fields["psf"]]
    survey = _restore_survey(fields["survey"])
    for band, psf in zip(survey.available_filters, psfs, strict=True):
        survey.get_filter(band).psf = psf
    batch = BlendBatch(**{**fields, "survey": survey, "psf": psfs})
    batch.survey_name = survey.name  # MultiResolutionBlendBatch of BTK 1.0.9 asks for it
    return batch


def _restore_survey(values: dict) -> Survey:
    filters = {}
    for band, parameters in values["_filters"].items():
        filters[band] = _with_attributes(Filter, parameters)
    return _with_attributes(Survey, {**values, "_filters": filters})


def _with_attributes(kind: type, values: dict) -> Any:
    """Return an instance with these attributes, those included that its class does not know."""
    names = {field.name for field in dataclasses.fields(kind) if field.init}
    thing = kind(**{name: value for name, value in values.items() if name in names})
    for name, value in values.items():
        setattr(thing, name, value)
    return thing
