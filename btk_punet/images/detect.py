"""`detect`: from an image of any size to its catalog, resumed where it was stopped."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from btk_punet import __version__
from btk_punet.deblending.base import check_integer
from btk_punet.deblending.deblender import ProbaUNetDeblender
from btk_punet.errors import InputError, InputTypeError
from btk_punet.folder_lock import locked
from btk_punet.images.detections import Detections
from btk_punet.images.folder import open_folder
from btk_punet.images.search import search
from btk_punet.images.sky_image import SkyImage, open_image
from btk_punet.images.tiles import Box

PARTS, LOCK_FILE = "parts", "detect.lock"


def detect(
    image: Any,
    *,
    rms: Any = None,
    weight: Any = None,
    mask: Any = None,
    wcs: Any = None,
    psf: Any = None,
    zeropoint: float | None = None,
    gain: float | None = None,
    saturate: float | None = None,
    pixel_scale_arcsec: float | None = None,
    background: Any = "estimate",
    cosmic_rays: bool = False,
    weights: Any = "euclid-vis",
    n_samples: int = 16,
    threshold: float = 0.5,
    seed: int = 0,
    density_ratio: float | None = None,
    orientations: int = 1,
    light: bool = True,
    region: tuple[slice, slice] | None = None,
    output: str | Path | None = None,
    jobs: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> Detections:
    """Find the galaxies of an image, of any size.

    The image is cut into tiles that overlap, so that memory does not grow with it, and the maps of
    neighbours agree to rounding: there are no seams. A run with ``output`` that was stopped
    resumes where it was, and ends with the same files, byte for byte.

    Args:
        image: An array ``(H, W)``, ``NDData``, HDU, the path of a FITS image (``field.fits[SCI]``
            for an extension; compressed or not), or a BTK ``BlendBatch`` of one image and band.
        rms: Noise of the background [unit of the image]: a number, an array, or the path of a FITS
            image; estimated from the image where neither it nor ``weight`` is given.
        weight: Its inverse square instead; 0 marks pixels that are not usable.
        mask: What is not 0 is not usable; an array, or a path.
        wcs: World coordinates, in place of the header's.
        psf: FWHM [arcsec] before the pixel, a galsim object, an array of pixels, or the path of a
            FITS image of it; Euclid's if None.
        zeropoint: AB magnitude of one unit of the image; the header's if None.
        gain: Electrons of one unit of the image; the header's if None.
        saturate: Value from which on a pixel is saturated; the header's if None.
        pixel_scale_arcsec: Pixel size, where there are no world coordinates.
        background: ``"estimate"`` measures the sky and subtracts it; None for an image whose sky is
            subtracted; or the sky as a number, array or path.
        cosmic_rays: Whether to look for cosmic rays and mask them, by astroscrappy.
        weights: As for `ProbaUNetDeblender`, of a network of one band, as the seven next ones.
        n_samples: Number of samples of the posterior.
        threshold: Smallest ``p_detect`` of a source.
        seed: Seed of the samples.
        density_ratio: How many times as dense as in the sky sources are expected to lie; as dense
            if None.
        orientations: In how many orientations a tile goes through the network.
        light: Whether to fit places, total fluxes, sizes and shapes.
        region: Slices of rows and columns to which the search is confined; pixels are counted
            from the corner of the whole image all the same.
        output: Folder for the results (see `Detections.write`), and for what a run that was stopped
            resumes from. None keeps the results for as long as the returned object lives.
        jobs: Number of processes.
        overwrite: Whether to throw away another run in the folder.
        progress: Whether to show a progress bar.

    Returns:
        What was found.

    Raises:
        InputError, InputTypeError: An argument or the image cannot be used.
        RunExistsError: The folder holds another run, or something else.
    """
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
    deblender = ProbaUNetDeblender(
        1,
        weights,
        n_samples,
        threshold,
        seed,
        density_ratio,
        light=light,
        orientations=orientations,
    )
    check_integer("jobs", jobs, lowest=1)
    _ = deblender.fixed_density_ratio  # which checks it
    if deblender.network.n_bands != 1:
        raise InputError(
            f"The network was trained on {deblender.network.n_bands} bands, and an image has one. "
            "Give weights of a network of one band."
        )
    box = _checked_region(region, sky_image.shape)
    about = _about(sky_image, deblender, box)
    if output is None:
        # Removed with the returned object, whose maps lie in it.
        temporary = tempfile.TemporaryDirectory(prefix="btk-punet-")
        folder = Path(temporary.name)
        return search(sky_image, deblender, folder, box, about, jobs, progress, temporary)
    folder = Path(output).absolute()
    finished = open_folder(folder, about, overwrite)
    with locked(folder / LOCK_FILE):
        if not finished:
            parts = folder / PARTS
            found = search(sky_image, deblender, parts, box, about, jobs, progress)
            found.write(folder)
            shutil.rmtree(parts, ignore_errors=True)
    return Detections.read(folder)


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


def _about(image: SkyImage, deblender: ProbaUNetDeblender, region: Box) -> dict[str, Any]:
    """Return what decides on the result, and what was assumed, for ``run.json``."""
    choices = {k: v for k, v in deblender.fingerprint().items() if k != "max_n_sources"}
    return {
        "kind": "detect",
        "image": image.fingerprint(),
        "shape": list(image.shape),
        "region": [[lines.start, lines.stop] for lines in region],
        "choices": choices,
        "versions": {"btk_punet": __version__, **deblender.versions()},
        "notes": list(image.notes),
    }
