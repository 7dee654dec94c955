"""`detect`: from an image of any size to its catalog, resumed where it was stopped."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

from btk_punet import __version__
from btk_punet.cluster.workers import check_place
from btk_punet.deblending.base import check_integer
from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.errors import BtkPunetError, InputError, InputTypeError
from btk_punet.folder_lock import LOCK_FILE, locked
from btk_punet.images import search as searching
from btk_punet.images.detections import Detections
from btk_punet.images.folder import (
    PARTS,
    SAMPLES,
    check_folder,
    check_room,
    describe_columns,
    open_folder,
)
from btk_punet.images.options import ImageOptions, OutputOptions, SearchOptions
from btk_punet.images.sky_image import SkyImage, open_image
from btk_punet.images.tiles import Box
from btk_punet.options import documented
from btk_punet.output import output_folder


@documented(ImageOptions, SearchOptions, OutputOptions)
def detect(
    image: Any,
    *,
    rms: Any = ImageOptions.rms,
    weight: Any = ImageOptions.weight,
    mask: Any = ImageOptions.mask,
    wcs: Any = None,
    psf: Any = ImageOptions.psf,
    zeropoint: float | None = ImageOptions.zeropoint,
    gain: float | None = ImageOptions.gain,
    saturate: float | None = ImageOptions.saturate,
    pixel_scale_arcsec: float | None = ImageOptions.pixel_scale_arcsec,
    background: Any = ImageOptions.background,
    cosmic_rays: bool = ImageOptions.cosmic_rays,
    weights: Any = SearchOptions.weights,
    n_samples: int = SearchOptions.n_samples,
    threshold: float = SearchOptions.threshold,
    seed: int = SearchOptions.seed,
    density_ratio: float | None = SearchOptions.density_ratio,
    orientations: int = SearchOptions.orientations,
    light: bool = SearchOptions.light,
    galaxies: str = SearchOptions.galaxies,
    region: tuple[slice, slice] | None = SearchOptions.region,
    output: str | Path | None = None,
    samples: int = OutputOptions.samples,
    jobs: int = OutputOptions.jobs,
    scheduler: str | None = OutputOptions.scheduler,
    scheduler_file: str | Path | None = OutputOptions.scheduler_file,
    overwrite: bool = OutputOptions.overwrite,
    progress: bool = OutputOptions.progress,
) -> Detections:
    """Find the galaxies of an image, of any size.

    The image is cut into tiles that overlap, so that memory does not grow with it, and the maps of
    neighbours agree to rounding: there are no seams. A run with ``output`` that was stopped
    resumes where it was, and ends with the same files, byte for byte.

    Args:
        image: An array ``(H, W)``, ``NDData``, HDU, the path of a FITS image (``field.fits[SCI]``
            for an extension; compressed or not), or a BTK ``BlendBatch`` of one image and band.
        {ImageOptions}
        wcs: World coordinates, in place of the header's.
        {SearchOptions}
        output: Folder for the results (see `Detections.write`), and for what a run that was stopped
            resumes from. None keeps the results for as long as the returned object lives.
        {OutputOptions}

    Returns:
        What was found.

    Raises:
        InputError, InputTypeError: An argument or the image cannot be used.
        RunExistsError: The folder holds another run, or something else.
        ClusterError: There are no workers where some were asked for, or a tile lost three.
        OSError: The results cannot be written. What was computed is kept, and the same call
            resumes from it.
    """
    # Before anything is computed.
    check_integer("jobs", jobs, lowest=1)
    check_integer("samples", samples, lowest=0)
    check_place(jobs, scheduler, scheduler_file, None)
    place = {"njobs": jobs, "scheduler": scheduler, "scheduler_file": scheduler_file}
    folder = None if output is None else output_folder(output, (PARTS, SAMPLES))
    if folder is None and samples:
        raise InputError(
            "samples would be ignored without output. Give a folder, or draw them from what is "
            "returned: detections.sample_catalogs(n)."
        )
    if folder is None and (scheduler is not None or scheduler_file is not None):
        raise InputError(
            "A scheduler's workers need an output folder that they see too: give output."
        )
    if isinstance(background, str) and background == "none":
        background = None
    sky_image = open_image(
        image,
        rms=rms,
        weight=weight,
        mask=mask,
        wcs=wcs,
        psf=psf,
        zeropoint=zeropoint,
        gain=gain,
        saturate=saturate,
        pixel_scale_arcsec=pixel_scale_arcsec,
        background=background,
        cosmic_rays=cosmic_rays,
    )
    if isinstance(weights, str | Path) and Path(weights).is_dir():
        weights = Path(weights).resolve()  # workers elsewhere have another working directory
    deblender = ProbaUNetDeblender(
        1,
        weights,
        n_samples,
        threshold,
        seed,
        density_ratio,
        light=light,
        orientations=orientations,
        galaxies=galaxies,
    )
    _ = deblender.fixed_density_ratio  # which checks it
    if deblender.network.n_bands != 1:
        raise InputError(
            f"The network was trained on {deblender.network.n_bands} bands, and an image has one. "
            "Give weights of a network of one band."
        )
    box = _checked_region(region, sky_image.shape)
    about = _about(image, sky_image, deblender, box)

    def found_in(parts: Path, keeps_alive: Any = None) -> Detections:
        found = searching.search(
            sky_image, deblender, parts, box, about, place, progress, keeps_alive
        )
        describe_columns(found.catalog)
        return dataclasses.replace(found, image=sky_image)

    n_pixels = (box[0].stop - box[0].start) * (box[1].stop - box[1].start)
    if folder is None:
        temporary = _TemporaryFolder()
        check_room(temporary.path, n_pixels, only_parts=True)
        return found_in(temporary.path, temporary)
    check_folder(folder, about, overwrite)  # before anything is made in it
    with locked(folder / LOCK_FILE):
        finished = open_folder(folder, about, overwrite)
        try:
            if not finished:
                check_room(folder / PARTS, n_pixels)
                found_in(folder / PARTS).write(folder, samples, seed)
                shutil.rmtree(folder / PARTS, ignore_errors=True)
            found = dataclasses.replace(Detections.read(folder), image=sky_image)
            if finished:
                found.complete(folder, samples, seed)
        except BtkPunetError:
            raise
        except OSError as error:
            raise _unwritten(error, folder) from error
    return found


class _TemporaryFolder:
    """A folder that is removed when nothing needs it any more: no maps that lie in it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="btk-punet-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def _unwritten(error: OSError, folder: Path) -> OSError:
    """Return an error that also says what is to be done."""
    text = f"{error.strerror or error}. What was computed is kept: the same call resumes from it"
    return OSError(error.errno, text, error.filename or str(folder))


def _checked_region(region: Any, shape: tuple[int, int]) -> Box:
    """Return the region as slices with both ends, or raise."""
    if region is None:
        return slice(0, shape[0]), slice(0, shape[1])
    try:
        rows, columns = region
        lines = [(part.start, part.stop, part.step) for part in (rows, columns)]
    except (TypeError, ValueError, AttributeError) as error:
        raise InputTypeError(
            "region must be two slices, of rows and of columns, as numpy.s_[0:500, 200:700]; got "
            f"{region!r}."
        ) from error
    box = []
    for (start, stop, step), length, name in zip(lines, shape, ("rows", "columns"), strict=True):
        start, stop = 0 if start is None else start, length if stop is None else stop
        check_integer(f"the first of the {name} of region", start, lowest=0)
        check_integer(f"the end of the {name} of region", stop, lowest=1)
        if step not in (None, 1) or not start < stop <= length:
            raise InputError(
                f"region must lie within the image's {length} {name}, of which it has "
                f"{start}:{stop}{'' if step in (None, 1) else f':{step}'}. Rows come first."
            )
        box.append(slice(int(start), int(stop)))
    return box[0], box[1]


def _about(
    given: Any, image: SkyImage, deblender: ProbaUNetDeblender, region: Box
) -> dict[str, Any]:
    """Return what decides on the result, and what was assumed, for ``run.json``."""
    choices = {k: v for k, v in deblender.fingerprint().items() if k != "max_n_sources"}
    return {
        "kind": "detect",
        "name": Path(given).name if isinstance(given, str | Path) else type(given).__name__,
        "image": image.fingerprint(),
        "shape": list(image.shape),
        "pixel_scale_arcsec": image.pixel_scale_arcsec,
        "region": [[lines.start, lines.stop] for lines in region],
        "tiles": [searching.TILE_PIXELS, searching.MAP_MARGIN_PIXELS],
        "choices": choices,
        "versions": {"btk_punet": __version__, **deblender.versions()},
        "notes": list(image.notes),
    }
