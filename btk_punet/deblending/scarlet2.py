"""scarlet2 on the peaks of any catalog: a model of each source, fitted to all of them at once.

BTK has a deblender of its own, `btk.deblend.Scarlet`, for the first scarlet, which models each
source by its pixels. That is not on PyPI (the package `scarlet` there is another program). It is
installed from its repository, with a compiler, beside ``autograd<1.9``::

    pip install "autograd<1.9" pybind11 peigen setuptools wheel
    pip install --no-build-isolation git+https://github.com/pmelchior/scarlet.git

and is then `btk.deblend.Scarlet(max_n_sources)`, or ``btk-scarlet`` in ``btk-punet compare``. It
takes the true catalog for its peaks, so that its completeness says nothing.
"""

from __future__ import annotations

import copy
import numbers
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table
from btk.blend_batch import BlendBatch, DeblendBatch, DeblendExample
from btk.deblend import Deblender
from btk.survey import Survey

from btk_punet.deblending import base
from btk_punet.deblending.base import (
    DetectingDeblender,
    catalog_positions,
    check_integer,
    footprint_flags,
    installed_versions,
    sky_arcsec,
    usable_pixels,
)
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.deblending.noise import band_variances
from btk_punet.deblending.psf_pixels import psf_image
from btk_punet.deblending.sep import SepDeblender
from btk_punet.errors import BtkPunetWarning, InputError, InputTypeError, MissingProgramError
from btk_punet.simulation.survey import (
    magnitude,
    pixel_scale_arcsec,
    reference_band,
)

if TYPE_CHECKING:
    from btk_punet.deblending.scarlet2_fit import SceneFit, SceneModel
    from btk_punet.simulation.scenes import SceneGenerator


class Scarlet2Deblender(DetectingDeblender):
    """scarlet2 (Melchior et al., github.com/pmelchior/scarlet2); version 0.5.1 was tested.

    scarlet2 detects nothing: it models what another method found. The sources of a scene are
    fitted together, in all bands, each by a Sersic profile with one shape and one flux per band,
    seen through the survey's PSF, with the survey's background variance as noise. The centre may
    move from the peak by `max_shift`. The fit is scarlet2's (Adam, on its parameters and
    constraints), with steps that shrink to nothing over `max_iter`; it runs on JAX, is compiled
    once for each shape of image, PSF and number of sources rounded up to 4, 8, 16, ... (seconds),
    and then takes about 0.2 s of a core for a stamp of 64 pixels with the default `max_iter`, to
    which the time is proportional. ``njobs`` is not used: JAX cannot be forked.

    Pixels without a usable value (NaN, infinite, beyond 1e25 electrons) have no weight. Peaks
    outside of the image are left out, with a `BtkPunetWarning`. Where the fit of a scene breaks
    down, its sources stay at their peaks, with flux 0 and the noise of the whole image as its
    error, without pixels, with the flag FIT_FAILED, and there is one warning per call.

    The catalog of an image has a row for each source, the brightest first:

    - ``ra``, ``dec`` [arcsec]: BTK's world coordinates; ``ra`` is negative left of the centre.
    - ``x_peak``, ``y_peak`` [pixel]: fitted centre; 0-based, pixel centres at integers, x the
      column.
    - ``x_err``, ``y_err`` [pixel]: its standard deviation, from the noise of the background and
      the photons, the neighbours' parameters unknown too.
    - ``flux``, ``flux_err`` [electron]: sum over the model, in the image and in the reference band
      (I_E, else i or r, else the first), and its standard deviation.
    - ``mag_<band>`` [AB mag]: of ``flux``; NaN where that is not positive.
    - ``n_pixels``: number of pixels of the footprint; 0 for a model that is fainter everywhere.
    - ``flags``: bits of `DetectionFlag`.

    There is no probability, and so no ``p_detect``. The segmentation is bool, ``(max_n_sources,
    H, W)`` per image, in the order of the catalog: where a source's model, in the reference band,
    exceeds `k` sigma of the background. Footprints overlap. ``deblended_images`` are the models
    [electron], float32 ``(max_n_sources, bands, H, W)`` per image, with the PSF.

    Args:
        max_n_sources: Largest number of sources to return for an image; of more, the first in the
            catalog of the peaks are kept, with the flag TRUNCATED and one warning per call.
        peaks: Where the sources are: ``"sep"`` for `SepDeblender` on the reference band;
            ``"truth"`` for the true catalog, to test the modelling alone; or any BTK deblender.
        max_iter: Number of steps of the fit.
        max_shift: How far a centre may move from its peak along each axis [pixel].
        k: Threshold of the segmentation, in standard deviations of a pixel's background.

    Raises:
        MissingProgramError: scarlet2 is not installed.
        InputError: A parameter is out of its range.
        InputTypeError: ``peaks`` is neither a text nor a deblender.
    """

    KEPT = "first in the catalog of its peaks"
    FEWER_BY = "the threshold of its peaks"

    def __init__(
        self,
        max_n_sources: int,
        peaks: str | Deblender = "sep",
        max_iter: int = 200,
        max_shift: float = 2.0,
        k: float = 1.0,
    ) -> None:
        super().__init__(max_n_sources)
        self.peaks = peaks
        self.max_iter = max_iter
        self.max_shift = max_shift
        self.k = k
        check_integer("max_n_sources", max_n_sources, lowest=1)
        check_integer("max_iter", max_iter, lowest=1)
        for name, value in (("max_shift", max_shift), ("k", k)):
            if not _is_positive(value):
                raise InputError(
                    f"{name} must be a positive number, got {value!r}. Pass for instance {name}=1."
                )
        if isinstance(peaks, str):
            if peaks not in ("sep", "truth"):
                raise InputError(
                    f"peaks must be 'sep', 'truth' or a deblender, got {peaks!r}. Pass for "
                    "instance peaks=ProbaUNetDeblender(max_n_sources=20)."
                )
        elif not isinstance(peaks, Deblender):
            raise InputTypeError(
                "peaks must be 'sep', 'truth' or an instance of a btk.deblend.Deblender class, "
                f"got {type(peaks).__name__}. Pass for instance peaks=SepDeblender(20)."
            )
        if not self.is_available():
            raise MissingProgramError(
                "Scarlet2Deblender needs the package scarlet2, which is not installed: "
                'pip install "btk_punet[scarlet2]".'
            )

    @classmethod
    def availability(cls, survey: Survey) -> str:
        """Return that scarlet2 is not installed; empty if it is."""
        if cls.is_available():
            return ""
        return 'scarlet2 is left out: it is not installed (pip install "btk_punet[scarlet2]").'

    @staticmethod
    def is_available() -> bool:
        """Return whether scarlet2 is installed."""
        return find_spec("scarlet2") is not None

    def warm_up(self, blend_batch: BlendBatch) -> None:
        """Have the fit compiled for images and numbers of sources like these."""
        if isinstance(self.peaks, Deblender):
            base.warm_up(self.peaks, blend_batch)
        self(blend_batch)

    def fingerprint(self) -> dict[str, object]:
        """Return the parameters, and those of the deblender that gives the peaks."""
        parameters = super().fingerprint()
        if not isinstance(self.peaks, Deblender):
            return parameters
        peaks = {"class": base.class_path(self.peaks), **base.fingerprint(self.peaks)}
        return {**parameters, "peaks": peaks}

    def told_scenes(self, generator: SceneGenerator) -> Scarlet2Deblender:
        """Return the same fit on peaks of a deblender that is told of the scenes."""
        if not isinstance(self.peaks, Deblender):
            return self
        told = copy.copy(self)
        told.peaks = base.told_scenes(self.peaks, generator)
        return told

    def versions(self) -> dict[str, str]:
        """Return the versions of scarlet2 and JAX, and of what the peaks depend on."""
        of_peaks = base.versions(self.peaks) if isinstance(self.peaks, Deblender) else {}
        return installed_versions("scarlet2", "jax") | of_peaks

    def deblend(self, ii: int, blend_batch: BlendBatch) -> DeblendExample:
        """Model the sources of one image.

        Args:
            ii: Index of the image in the batch.
            blend_batch: Batch of blends.

        Returns:
            Catalog, segmentation and models of the image.

        Raises:
            InputTypeError: ``blend_batch`` is not a BlendBatch.
            InputError: The background of a band is not positive, or the results do not fit in
                memory.
        """
        (catalog,), (segmentation,), (models,) = self._run(blend_batch, ii)
        return DeblendExample(
            self.max_n_sources,
            catalog,
            n_bands=models.shape[1],
            image_size=blend_batch.image_size,
            segmentation=segmentation,
            deblended_images=models,
        )

    def batch_call(self, blend_batch: BlendBatch, njobs: int = 1) -> DeblendBatch:
        """Model the sources of every image of a batch.

        Args:
            blend_batch: Batch of blends.
            njobs: Not used: JAX cannot be forked.

        Returns:
            Catalogs, segmentation ``(batch_size, max_n_sources, H, W)`` and models
            ``(batch_size, max_n_sources, bands, H, W)``.

        Raises:
            InputTypeError: ``blend_batch`` is not a BlendBatch.
            InputError: ``njobs`` is below 1, the background of a band is not positive, or the
                results do not fit in memory.
        """
        check_integer("njobs", njobs, lowest=1)
        catalogs, segmentation, models = self._run(blend_batch)
        return DeblendBatch(
            blend_batch.batch_size,
            self.max_n_sources,
            catalogs,
            n_bands=models.shape[2],
            image_size=blend_batch.image_size,
            segmentation=segmentation,
            deblended_images=models,
        )

    def _run(
        self, blend_batch: BlendBatch, only: int | None = None
    ) -> tuple[list[Table], np.ndarray, np.ndarray]:
        """Return catalogs, segmentation and models of a batch, or of one of its images."""
        self._check_batch(blend_batch)
        survey = blend_batch.survey
        variance = band_variances(survey, "weight the pixels")
        band = reference_band(survey)
        images = np.asarray(blend_batch.blend_images, float)[
            slice(None) if only is None else [only]
        ]
        self._check_memory((len(images), *images.shape[2:]), n_bands=images.shape[1])
        shape = (len(images), self.max_n_sources, *images.shape[1:])
        all_models = np.zeros(shape, np.float32)
        segmentation = np.zeros((*shape[:2], *shape[3:]), bool)
        model = self._model(blend_batch)
        catalogs, counts, n_failed, n_outside = [], [], 0, 0
        for ii, peaks in enumerate(self._find_peaks(blend_batch, only)):
            places, flags = _places(peaks, blend_batch.wcs)
            height, width = images.shape[2:]
            edge = np.array([height, width]) / 2
            inside = np.all(np.abs(places + 0.5 - edge) < edge, axis=1)  # False for NaN too
            counts.append(int(np.count_nonzero(inside)))
            n_outside += len(places) - counts[-1]
            places, flags = (a[inside][: self.max_n_sources] for a in (places, flags))
            if counts[-1] > self.max_n_sources:
                flags |= int(DetectionFlag.TRUNCATED)

            usable = usable_pixels(images[ii])
            fit = model.fit(np.where(usable, images[ii], 0), usable, variance, places)
            if not fit.converged:
                flags |= int(DetectionFlag.FIT_FAILED)
                n_failed += 1
            footprints = fit.models[:, band] > self.k * np.sqrt(variance[band])
            flags |= footprint_flags(np.nonzero(footprints), len(flags), np.all(usable, axis=0))
            # Stable, so that equal fluxes keep the order of the peaks.
            order = np.argsort(-fit.flux[:, band], kind="stable")
            all_models[ii, : len(order)] = fit.models[order]
            segmentation[ii, : len(order)] = footprints[order]
            table = _catalog(fit, footprints, flags, band, blend_batch)
            catalogs.append(table[order])
        self._warn_if_truncated(counts)
        if n_outside:
            self._warn(f"left out {n_outside} peaks outside of their images")
        if n_failed:
            self._warn(
                f"the fit broke down in {n_failed} of {len(images)} images, whose sources stay at "
                "their peaks without a model, with the flag FIT_FAILED"
            )
        return catalogs, segmentation, all_models

    def _find_peaks(self, blend_batch: BlendBatch, only: int | None) -> list[Table]:
        """Return the catalog of the peaks of each image."""
        if isinstance(self.peaks, str) and self.peaks == "truth":
            catalogs = blend_batch.catalog_list
            return catalogs if only is None else [catalogs[only]]
        finder = SepDeblender(self.max_n_sources) if isinstance(self.peaks, str) else self.peaks
        if only is not None:
            return [finder.deblend(only, blend_batch).catalog]
        # Some of BTK's classes stop at a batch without images.
        return finder.batch_call(blend_batch).catalog_list if blend_batch.batch_size else []

    def _model(self, blend_batch: BlendBatch) -> SceneModel:
        # Here and not above: JAX takes seconds to load.
        from btk_punet.deblending.scarlet2_fit import scene_model

        scale = pixel_scale_arcsec(blend_batch.survey)
        psf = np.array([psf_image(psf, scale) for psf in blend_batch.psf], np.float32)
        size = (blend_batch.image_size, blend_batch.image_size)
        return scene_model(psf.tobytes(), psf.shape, size, self.max_iter, float(self.max_shift))

    def _warn(self, text: str) -> None:
        warnings.warn(f"{self!r}: {text}.", BtkPunetWarning, stacklevel=4)


def _places(catalog: Table, wcs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column [pixel] ``(n, 2)``, and the flag TRUNCATED ``(n,)``, of a catalog.

    The catalog is BTK's or ours.
    """
    x, y = catalog_positions(catalog, wcs)
    flags = catalog["flags"] if "flags" in catalog.colnames else np.zeros(len(catalog))
    return np.stack([y, x], axis=1), np.asarray(flags, int) & int(DetectionFlag.TRUNCATED)


def _catalog(
    fit: SceneFit, footprints: np.ndarray, flags: np.ndarray, band: int, blend_batch: BlendBatch
) -> Table:
    """Return the catalog of one image, in the order of the fit."""
    filt = blend_batch.survey.get_filter(blend_batch.survey.available_filters[band])
    ra, dec = sky_arcsec(blend_batch.wcs, fit.x, fit.y)
    flux = fit.flux[:, band]
    columns = {"ra": ra, "dec": dec, "x_peak": fit.x, "y_peak": fit.y}
    columns |= {"x_err": fit.x_err, "y_err": fit.y_err}
    columns |= {"flux": flux, "flux_err": fit.flux_err[:, band]}
    columns[f"mag_{filt.name}"] = np.where(flux > 0, magnitude(flux, filt), np.nan)
    columns |= {"n_pixels": footprints.sum(axis=(1, 2)), "flags": flags}
    return Table(columns)


def _is_positive(value: object) -> bool:
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and 0 < float(value) < float("inf")
    )
