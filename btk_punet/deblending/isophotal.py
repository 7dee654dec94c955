"""What SEP, SExtractor and photutils share: detection above a threshold, and its catalog.

All smooth the image, take the connected pixels above a threshold, split them at saddles and
measure each piece. `IsophotalDeblender` holds what follows from that idea and not from the
program: band, noise, unusable pixels, the catalog, the flags.
"""

import numbers
from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Table
from btk.blend_batch import BlendBatch, DeblendBatch, DeblendExample
from btk.multiprocess import multiprocess
from btk.survey import Survey
from scipy import ndimage

from btk_punet.deblending.base import (
    DetectingDeblender,
    check_integer,
    footprint_flags,
    plain_floats,
    sky_arcsec,
    usable_pixels,
)
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.errors import InputError
from btk_punet.simulation.survey import background_variance, magnitude, reference_band

# SExtractor's default filter, and SEP's.
SMOOTHING = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])


class Extraction(NamedTuple):
    """What a program finds in one image.

    Attributes:
        sources: Structured array, one row per source, with at least the fields `x`, `y` [pixel,
            0-based], `errx2`, `erry2` [pixel^2] and `flux` [electron].
        labels: Integer image `(H, W)`; `i + 1` marks the pixels of row `i`, 0 the background.
    """

    sources: np.ndarray
    labels: np.ndarray


class IsophotalDeblender(DetectingDeblender):
    """Base of the deblenders that threshold one band and measure what lies above.

    The noise is the survey's own: the background variance of a pixel is surveycodex's
    `mean_sky_level`, and BTK's images come with the background already subtracted. Pixels without
    a usable value (NaN, infinite, beyond 1e25 electrons) are set to the background, which is 0.

    The catalog of an image has a row for each detection, the brightest first:

    - `ra`, `dec` [arcsec]: BTK's world coordinates; `ra` is negative left of the centre and not
      wrapped at 360 degrees.
    - `x_peak`, `y_peak` [pixel]: barycentre; 0-based, pixel centres at integers, x the column.
    - `x_err`, `y_err` [pixel]: one standard deviation of the barycentre, from the noise of the
      background and of the source's photons; what neighbours do to it is left out. Always finite.
    - `flux`, `flux_err` [electron]: sum over the footprint, and its standard deviation.
    - `mag_<band>` [AB mag]: of `flux`; NaN where `flux` is not positive.
    - `n_pixels`: number of pixels of the footprint.
    - `flags`: bits of `DetectionFlag`.

    These methods give no probability, so there is no `p_detect`. The segmentation is bool,
    `(max_n_sources, H, W)` per image, in the order of the catalog; footprints do not overlap.
    More detections than `max_n_sources` raise no error, as they do in BTK's classes: the
    brightest are kept, with the flag TRUNCATED, and there is one `BtkPunetWarning` per call.

    Args:
        max_n_sources: Largest number of detections to return for an image.
        thresh: Detection threshold, in standard deviations of a pixel's background.
        minarea: Smallest number of pixels of a source.
        deblend_cont: Smallest share of a blend's flux that a branch needs to be a source of its
            own: 0 splits at every saddle, 1 never.
        deblend_nthresh: Number of levels at which a blend is searched for branches.
        use_band: Name of the band, or its index in the order of the survey's filters; by default
            the survey's reference band (I_E, else i or r, else the first).

    Raises:
        InputError: A parameter is out of its range.
    """

    def __init__(
        self,
        max_n_sources: int,
        thresh: float = 1.2,
        minarea: int = 5,
        deblend_cont: float = 5e-4,
        deblend_nthresh: int = 64,
        use_band: int | str | None = None,
    ) -> None:
        super().__init__(max_n_sources)
        self.thresh = thresh
        self.minarea = minarea
        self.deblend_cont = deblend_cont
        self.deblend_nthresh = deblend_nthresh
        self.use_band = use_band
        check_integer("max_n_sources", max_n_sources, lowest=1)
        check_integer("minarea", minarea, lowest=1)
        check_integer("deblend_nthresh", deblend_nthresh, lowest=1)
        if not isinstance(use_band, str | None):
            check_integer("use_band", use_band, lowest=0)
        if not (_is_real(thresh) and 0 < thresh < np.inf):
            raise InputError(
                f"thresh must be a positive number of background sigmas, got {thresh!r}. "
                "Typical values are 1.0 to 3.0."
            )
        if not (_is_real(deblend_cont) and 0 <= deblend_cont <= 1):
            raise InputError(
                f"deblend_cont must lie in [0, 1], got {deblend_cont!r}. Use 0.005 for "
                "SExtractor's default, less to split more, 1 to split nothing."
            )

    def detection_band(self, survey: Survey) -> int:
        """Return the index of the band of a survey that is `use_band`.

        Raises:
            InputError: The survey has no such band.
        """
        bands = list(survey.available_filters)
        if self.use_band is None:
            return reference_band(survey)
        if isinstance(self.use_band, int | np.integer):
            if self.use_band < len(bands):
                return int(self.use_band)
            expected = f"below {len(bands)}, the number of bands of {survey.name}"
        elif self.use_band in bands:
            return bands.index(self.use_band)
        else:
            expected = f"the name of a band of {survey.name}"
        raise InputError(
            f"use_band must be {expected}, got {self.use_band!r}. The bands are "
            f"{', '.join(bands)}; leave it out to take {bands[reference_band(survey)]}."
        )

    def deblend(self, ii: int, blend_batch: BlendBatch) -> DeblendExample:
        """Detect and measure the sources of one image.

        Args:
            ii: Index of the image in the batch.
            blend_batch: Batch of blends.

        Returns:
            Catalog and segmentation `(max_n_sources, H, W)` of the image.

        Raises:
            InputTypeError: `blend_batch` is not a BlendBatch.
            InputError: The batch has no band `use_band`, or its survey no positive noise, or the
                results do not fit in memory.
        """
        (catalog,), (segmentation,) = self._run(blend_batch, [ii], njobs=1)
        return DeblendExample(
            self.max_n_sources,
            catalog,
            n_bands=1,
            image_size=blend_batch.image_size,
            segmentation=segmentation,
        )

    def batch_call(self, blend_batch: BlendBatch, njobs: int = 1) -> DeblendBatch:
        """Detect and measure the sources of every image of a batch.

        Args:
            blend_batch: Batch of blends.
            njobs: Number of processes to share the images.

        Returns:
            Catalogs, and segmentation `(batch_size, max_n_sources, H, W)`.

        Raises:
            InputTypeError: `blend_batch` is not a BlendBatch.
            InputError: `njobs` is below 1, the batch has no band `use_band`, or its survey no
                positive noise, or the results do not fit in memory.
        """
        catalogs, segmentation = self._run(blend_batch, slice(None), njobs)
        return DeblendBatch(
            blend_batch.batch_size,
            self.max_n_sources,
            catalogs,
            n_bands=1,
            image_size=blend_batch.image_size,
            segmentation=segmentation,
        )

    @abstractmethod
    def _extract(self, images: np.ndarray, sigma: float) -> list[Extraction]:
        """Run the program.

        Args:
            images: Finite images `(n, H, W)` without background [electron], float32 or float64,
                in C order.
            sigma: Standard deviation of the background of a pixel [electron].
        """

    def _run(
        self, blend_batch: BlendBatch, which: slice | list[int], njobs: int
    ) -> tuple[list[Table], np.ndarray]:
        """Return the catalogs and the segmentation of some images of a batch."""
        self._check_batch(blend_batch)
        check_integer("njobs", njobs, lowest=1)
        index = self.detection_band(blend_batch.survey)
        band = blend_batch.survey.get_filter(blend_batch.survey.available_filters[index])
        variance = background_variance(blend_batch.survey, band)
        if not 0 < variance < np.inf:
            raise InputError(
                f"The background of band {band.name} must be positive to set a threshold, got "
                f"{variance} electrons per pixel. Check the survey's sky_brightness."
            )
        sigma = float(np.sqrt(variance))

        images = plain_floats(np.asarray(blend_batch.blend_images)[which, index])
        self._check_memory(images.shape, n_bands=0)
        bad = ~usable_pixels(images)
        extractions = self._extract_parallel(np.where(bad, 0, images), sigma, njobs)

        shape = (len(images), self.max_n_sources, *images.shape[1:])
        segmentation = np.zeros(shape, dtype=bool)
        catalogs = []
        for extraction, bad_i, segmentation_i in zip(extractions, bad, segmentation, strict=True):
            # Stable, so that equal fluxes keep the program's order.
            order = np.argsort(-extraction.sources["flux"], kind="stable")[: self.max_n_sources]
            footprints = extraction.labels == (order + 1)[:, None, None]
            segmentation_i[: len(order)] = footprints
            sources = extraction.sources[order]
            catalog = _measure(sources, footprints, bad_i, sigma, band, blend_batch.wcs)
            if len(order) < len(extraction.sources):
                catalog["flags"] |= int(DetectionFlag.TRUNCATED)
            catalogs.append(catalog)
        self._warn_if_truncated([len(extraction.sources) for extraction in extractions])
        return catalogs, segmentation

    def _extract_parallel(self, images: np.ndarray, sigma: float, njobs: int) -> list[Extraction]:
        """Share the images between processes, one chunk each; BTK would send the whole batch."""
        if len(images) == 0:
            return []
        chunks = np.array_split(images, min(njobs, len(images)))
        results = multiprocess(self._extract, [(c, sigma) for c in chunks], njobs=len(chunks))
        return [extraction for chunk in results for extraction in chunk]


def _measure(
    sources: np.ndarray, footprints: np.ndarray, bad: np.ndarray, sigma: float, band: Any, wcs: Any
) -> Table:
    """Return the catalog of one image.

    Args:
        sources: Rows of an `Extraction`, in the order of the catalog.
        footprints: Bool `(n, H, W)`, the pixels of each row.
        bad: Bool `(H, W)`, the pixels without a usable value.
        sigma: Standard deviation of the background of a pixel [electron].
        band: The survey's filter.
        wcs: World coordinates of the image.
    """
    x, y, flux = (sources[name].astype(float) for name in ("x", "y", "flux"))
    n_pixels = footprints.sum(axis=(1, 2))
    ra, dec = sky_arcsec(wcs, x, y)
    # Where a program has no error: anywhere in a round footprint.
    fallback = np.sqrt(np.maximum(n_pixels, 1) / (4 * np.pi))

    catalog = Table()
    catalog["ra"], catalog["dec"] = ra, dec
    catalog["x_peak"], catalog["y_peak"] = x, y
    for name, variance in (("x_err", sources["errx2"]), ("y_err", sources["erry2"])):
        usable = np.isfinite(variance) & (variance >= 0)
        catalog[name] = np.where(usable, np.sqrt(np.where(usable, variance, 0)), fallback)
    catalog["flux"] = flux
    catalog["flux_err"] = np.sqrt(n_pixels * sigma**2 + np.maximum(flux, 0))
    catalog[f"mag_{band.name}"] = np.where(flux > 0, magnitude(flux, band), np.nan)
    catalog["n_pixels"] = n_pixels
    catalog["flags"] = footprint_flags(np.nonzero(footprints), len(footprints), ~bad)
    return catalog


def position_variances(
    image: np.ndarray, labels: np.ndarray, x: np.ndarray, y: np.ndarray, sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the variances of the barycentres in x and y [pixel^2], `(n,)` each.

    They are ERRX2_IMAGE and ERRY2_IMAGE by SExtractor's formula, but with the survey's noise:
    SExtractor itself takes the scatter of the image, sources included, whatever weights it is
    given.

    Args:
        image: Image `(H, W)` [electron].
        labels: Integer image `(H, W)`; `i + 1` marks the pixels of source `i`.
        x: Barycentres along the columns `(n,)` [pixel].
        y: Barycentres along the rows `(n,)` [pixel].
        sigma: Standard deviation of the background of a pixel [electron].
    """
    of_source = np.arange(len(x)) + 1
    smooth = ndimage.convolve(image, SMOOTHING / SMOOTHING.sum(), mode="constant")
    noise = sigma**2 + np.maximum(smooth, 0)
    flux2 = ndimage.sum_labels(smooth, labels, of_source) ** 2
    # A footprint one pixel wide has no moment, but its pixels have a width.
    least = ndimage.sum_labels(noise, labels, of_source) / 12
    variances = []
    for pixel, centre in zip(np.indices(image.shape)[::-1], (x, y), strict=True):
        offset = pixel - np.concatenate([[0], centre])[labels]
        moment = ndimage.sum_labels(noise * offset**2, labels, of_source)
        # A source all of whose pixels went to others has neither; NaN then says so.
        variances.append(
            np.divide(
                np.maximum(moment, least), flux2, out=np.full(len(x), np.nan), where=flux2 > 0
            )
        )
    return variances[0], variances[1]


def _is_real(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
