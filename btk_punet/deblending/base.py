"""What the deblenders of this package share: hooks, name, checks, warnings, sky positions, flags.

Hooks are what a run asks of a deblender beyond BTK's contract. A class defines those it has
something to say to; all are optional, for BTK's and users' classes as for this package's:

- ``warm_up(blend_batch)``: load and compile, so that the first batch is not timed with it.
- ``fingerprint()``: the parameters that decide on its results, for ``run.json``.
- ``versions()``: the packages and programs that its results depend on.
- ``detection_band(survey)``: the index of the band in which it works.
- ``availability(survey)``, a class method: why a comparison leaves it out, or nothing.
- ``told_scenes(generator)``: the deblender that knows of the scenes of a run what it may know.
- ``home_advantage(generator)``: how like the scenes of its training those of a run are.

They are asked through the functions of the same names, which know what to do without them.
"""

from __future__ import annotations

import inspect
import numbers
import warnings
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table
from btk.blend_batch import BlendBatch
from btk.deblend import Deblender
from btk.survey import Survey
from scipy import ndimage

from btk_punet.deblending.flags import DetectionFlag
from btk_punet.deblending.memory import check_results_fit
from btk_punet.errors import BtkPunetWarning, InputError, InputTypeError
from btk_punet.simulation.survey import reference_band

if TYPE_CHECKING:
    from btk_punet.simulation.scenes import SceneGenerator

# Electrons. Larger values are no light, and their sums leave single precision.
LARGEST_PIXEL_ELECTRONS = 1e25
_EIGHT_CONNECTED = np.ones((3, 3), bool)


class DetectingDeblender(Deblender):
    """Base of the deblenders of this package.

    A subclass stores its arguments under their names, and says which detections it keeps of too
    many (`KEPT`) and which argument makes them fewer (`FEWER_BY`). It overrides the hooks whose
    defaults are not true of it.
    """

    KEPT = "brightest"
    FEWER_BY = "thresh"

    def __repr__(self) -> str:
        """Return the class and the parameters that differ from their defaults.

        BTK's DeblendGenerator names its results by this, so that two settings stay apart.
        """
        parameters = inspect.signature(type(self)).parameters.values()
        shown = [
            f"{p.name}={getattr(self, p.name)!r}"
            for p in parameters
            if p.default is p.empty or getattr(self, p.name) != p.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    @classmethod
    def availability(cls, survey: Survey) -> str:
        """Return the sentence that tells why a comparison leaves the class out; empty if it runs.

        That is, with its defaults, on this machine and on images of a survey.
        """
        return ""

    def warm_up(self, blend_batch: BlendBatch) -> None:
        """Do what only the first call needs, such as loading and compiling a model."""

    def fingerprint(self) -> dict[str, object]:
        """Return the parameters that decide on the results, by name.

        What lies in a file is given as a hash of its contents, not by its path.
        """
        return _public_attributes(self)

    def versions(self) -> dict[str, str]:
        """Return the versions of packages and programs that not every run depends on."""
        return {}

    def detection_band(self, survey: Survey) -> int:
        """Return the index of the band that it works in; of several, where it measures light."""
        return reference_band(survey)

    def _check_batch(self, blend_batch: object) -> None:
        if not isinstance(blend_batch, BlendBatch):
            raise InputTypeError(
                f"{type(self).__name__} needs a btk BlendBatch, got {type(blend_batch).__name__}. "
                "Of a MultiResolutionBlendBatch, pass the batch of one survey."
            )
        dtype = np.asarray(blend_batch.blend_images).dtype
        if dtype.kind not in "fiu":
            raise InputTypeError(
                f"{type(self).__name__} needs blend_images as real numbers, got dtype {dtype}. "
                "Make the batch of electrons, as integers or floating-point numbers."
            )

    def _check_memory(self, shape: tuple[int, ...], n_bands: int, remedy: str = "") -> None:
        """Raise InputError unless the results of images ``(b, H, W)`` fit in memory."""
        check_results_fit(type(self).__name__, shape, self.max_n_sources, n_bands, remedy)

    def _warn_if_truncated(self, counts: list[int]) -> None:
        """Give one warning if any image held too many detections."""
        n_truncated = sum(count > self.max_n_sources for count in counts)
        if n_truncated:
            warnings.warn(
                f"{n_truncated} of {len(counts)} images hold more detections than max_n_sources="
                f"{self.max_n_sources} (up to {max(counts)}): {self!r} kept the {self.KEPT} and "
                f"set the flag TRUNCATED. Raise max_n_sources, or raise {self.FEWER_BY}.",
                BtkPunetWarning,
                stacklevel=4,  # the caller of batch_call
            )


def availability(kind: type[Deblender], survey: Survey) -> str:
    """Return the sentence that tells why a comparison leaves a class out; empty if it runs.

    A class without the hook runs.

    Raises:
        InputTypeError: if the hook returns no string.
    """
    answer = kind.availability(survey) if _has_hook(kind, "availability") else ""
    if not isinstance(answer, str):
        raise _wrong_answer(kind, "availability", "a string, which is empty if it runs", answer)
    return answer


def warm_up(deblender: Deblender, blend_batch: BlendBatch) -> None:
    """Have a deblender load and compile what it needs; one without the hook needs nothing."""
    if _has_hook(deblender, "warm_up"):
        deblender.warm_up(blend_batch)


def fingerprint(deblender: Deblender) -> dict[str, object]:
    """Return the parameters that decide on what a deblender finds, by name.

    Those of one without the hook are its public attributes.

    Raises:
        InputTypeError: if the hook returns no dict.
    """
    if not _has_hook(deblender, "fingerprint"):
        return _public_attributes(deblender)
    answer = deblender.fingerprint()
    if not isinstance(answer, Mapping):
        raise _wrong_answer(type(deblender), "fingerprint", "a dict of parameters", answer)
    return dict(answer)


def versions(deblender: Deblender) -> dict[str, str]:
    """Return the versions of the packages and programs that a deblender depends on, by name.

    For one without the hook this is the installed package that its class comes from, if any.

    Raises:
        InputTypeError: if the hook returns no dict of strings.
    """
    if not _has_hook(deblender, "versions"):
        package = type(deblender).__module__.partition(".")[0]
        try:
            return installed_versions(package)
        except metadata.PackageNotFoundError:  # a script, or a package of another name
            return {}
    answer = deblender.versions()
    if not isinstance(answer, Mapping) or not all(isinstance(v, str) for v in answer.values()):
        raise _wrong_answer(type(deblender), "versions", "a dict of names and strings", answer)
    return dict(answer)


def detection_band(deblender: Deblender, survey: Survey) -> int | None:
    """Return the index of the band in which a deblender works.

    For one without the hook this is its ``use_band``, as BTK's classes call it; None if that is
    no index.

    Raises:
        InputError: if the survey has no such band.
        InputTypeError: if the hook returns no integer.
    """
    has_hook = _has_hook(deblender, "detection_band")
    band = deblender.detection_band(survey) if has_hook else getattr(deblender, "use_band", None)
    if isinstance(band, bool) or not isinstance(band, int | np.integer):
        if has_hook:
            raise _wrong_answer(type(deblender), "detection_band", "the index of a band", band)
        return None
    bands = survey.available_filters
    if not 0 <= band < len(bands):
        raise InputError(
            f"{type(deblender).__name__} works in the band of index {band}, and {survey.name} has "
            f"{len(bands)} ({', '.join(bands)}). Give it the index of one of them."
        )
    return int(band)


def home_advantage(deblender: Deblender, generator: SceneGenerator) -> str:
    """Return how the scenes of a generator are like those that a deblender was trained on.

    It follows the deblender's name in a sentence: "was trained on ...". Empty for one without the
    hook, which was not trained.

    Raises:
        InputTypeError: if the hook returns no text.
    """
    if not _has_hook(deblender, "home_advantage"):
        return ""
    answer = deblender.home_advantage(generator)
    if not isinstance(answer, str):
        raise _wrong_answer(type(deblender), "home_advantage", "a text", answer)
    return answer


def told_scenes(deblender: Deblender, generator: object) -> Deblender:
    """Return a deblender as it is for the scenes of a generator, such as their density.

    The deblender itself is not changed; it is returned where it has no such hook.

    Raises:
        InputTypeError: if the hook returns no deblender.
    """
    if not _has_hook(deblender, "told_scenes"):
        return deblender
    answer = deblender.told_scenes(generator)
    if not isinstance(answer, Deblender):
        raise _wrong_answer(type(deblender), "told_scenes", "a deblender", answer)
    return answer


def class_path(deblender: Deblender) -> str:
    """Return the full name of the class of a deblender."""
    kind = type(deblender)
    return f"{kind.__module__}.{kind.__qualname__}"


def installed_versions(*packages: str) -> dict[str, str]:
    """Return the versions of installed packages."""
    return {package: metadata.version(package) for package in packages}


def _has_hook(deblender: object, name: str) -> bool:
    # An attribute of the name may be something else: what is no method is no hook.
    return callable(getattr(deblender, name, None))


def _wrong_answer(kind: type, hook: str, expected: str, answer: object) -> InputTypeError:
    return InputTypeError(
        f"{kind.__name__}.{hook} must return {expected}, got {answer!r}. See "
        "btk_punet.deblending.base for what it is asked for."
    )


def _public_attributes(thing: object) -> dict[str, object]:
    return {name: value for name, value in vars(thing).items() if not name.startswith("_")}


def check_name(name: object) -> None:
    """Raise InputError or InputTypeError unless ``name`` can name a method in tables and plots."""
    if not isinstance(name, str):
        raise InputTypeError(
            f"The name of a deblender must be a string, got {name!r} ({type(name).__name__})."
        )
    if not name.strip() or not name.isprintable():
        raise InputError(
            f"The name of a deblender must be one line of visible text, got {name!r}. Give a dict "
            "of name and deblender."
        )


def check_integer(name: str, value: object, lowest: int) -> None:
    """Raise InputError unless ``value`` is an integer of at least ``lowest``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < lowest:
        raise InputError(
            f"{name} must be an integer of at least {lowest}, got {value!r}. Pass for instance "
            f"{name}={lowest}."
        )


def plain_floats(images: np.ndarray) -> np.ndarray:
    """Return images of any layout and kind of numbers as programs written in C take them.

    Returns:
        Contiguous array in this machine's byte order: float32 where they are that, else float64.
    """
    images = np.asarray(images)
    is_single = images.dtype.newbyteorder("=") == np.float32
    with np.errstate(over="ignore"):  # beyond float64 is infinite, and not used
        return np.ascontiguousarray(images, np.float32 if is_single else np.float64)


def usable_pixels(images: np.ndarray) -> np.ndarray:
    """Return where an image has a value that can be light: not NaN, infinite or beyond 1e25."""
    return np.abs(images) < LARGEST_PIXEL_ELECTRONS  # False for NaN too


def sky_arcsec(wcs: Any, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return BTK's ra and dec [arcsec] of pixel positions; ra is not wrapped at 360 degrees."""
    ra, dec = (np.asarray(angle) for angle in wcs.pixel_to_world_values(x, y))
    return 3600 * (ra - 360 * (ra > 180)), 3600 * dec


def unwrapped_arcsec(ra: np.ndarray) -> np.ndarray:
    """Return right ascensions [arcsec] about 0: BTK's SEP wraps negative ones at 360 degrees."""
    ra = np.asarray(ra, float)
    return ra - 1_296_000.0 * np.round(ra / 1_296_000.0)


def catalog_positions(catalog: Table, wcs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and rows [pixel] of a catalog of any deblender, BTK's or ours.

    They come from ``x_peak`` and ``y_peak``, or from ``ra`` and ``dec`` where it has no others.
    """
    if "x_peak" in catalog.colnames:
        return np.asarray(catalog["x_peak"], float), np.asarray(catalog["y_peak"], float)
    ra, dec = unwrapped_arcsec(catalog["ra"]), np.asarray(catalog["dec"], float)
    return wcs.world_to_pixel_values(ra / 3600, dec / 3600)


def footprint_flags(
    pixels: tuple[np.ndarray, ...], n_footprints: int, usable: np.ndarray
) -> np.ndarray:
    """Return the flags BAD_PIXEL and EDGE of footprints.

    Args:
        pixels: ``np.nonzero`` of the footprints ``(n, H, W)``: pixel by pixel, since arrays of all
            detections by the image would fill the memory for a large field.
        n_footprints: Number ``n``.
        usable: Which pixels have a value, bool ``(H, W)``.

    Returns:
        Integers ``(n,)``, bits of `DetectionFlag`.
    """
    height, width = usable.shape
    owner, row, column = pixels
    at_border = (row == 0) | (row == height - 1) | (column == 0) | (column == width - 1)
    near_bad = ndimage.binary_dilation(~usable, _EIGHT_CONNECTED)[row, column]
    flags = np.zeros(n_footprints, int)
    for where, flag in ((near_bad, DetectionFlag.BAD_PIXEL), (at_border, DetectionFlag.EDGE)):
        flags[np.unique(owner[where])] |= int(flag)
    return flags
