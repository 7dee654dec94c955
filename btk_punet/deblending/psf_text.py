"""PSFs as text that can be read back without running it: GalSim's own exact ``repr``, and arrays.

``eval`` of a ``repr`` and pickles run whatever a file holds. Here the text is parsed, and nothing
but numbers, lists, arrays and the constructors named below is built from it, so the file of a
stranger is as safe as GalSim's constructors are.
"""

import ast
import warnings
from collections.abc import Sequence
from typing import Any

import galsim
import numpy as np

from btk_punet.errors import InputError

# Surface-brightness profiles, and what their reprs hold. None reads a file unless it is given a
# string, and strings are not taken.
_PROFILES = (
    "Airy AutoConvolution AutoCorrelation Box Convolution Deconvolution DeltaFunction "
    "DeVaucouleurs Exponential FourierSqrt Gaussian InterpolatedImage InterpolatedKImage "
    "Kolmogorov Moffat OpticalPSF Pixel SecondKick Sersic Shapelet Spergel Sum TopHat "
    "Transformation VonKarman"
).split()
_PARTS = (
    "Angle Aperture BoundsD BoundsI Cubic Delta GSParams Image JacobianWCS Lanczos Linear Nearest "
    "OffsetWCS PixelScale PositionD PositionI Quintic SincInterpolant"
).split()
_CONSTRUCTORS: dict[str, Any] = {
    **{f"galsim.{name}": getattr(galsim, name) for name in [*_PROFILES, *_PARTS]},
    **{f"np.{name}": getattr(np, name) for name in ("float32", "float64", "int32", "int64")},
}
_CONSTANTS = {"inf": np.inf, "nan": np.nan, "galsim.radians": galsim.radians}

# Longer texts hold an array that GalSim writes out in full (a pupil), and are slow to parse.
_LONGEST_TEXT = 20_000
# A PSF without an exact text is drawn with so many points a pixel, and on so many points at most.
_POINTS_PER_PIXEL, _MOST_POINTS = 4, 1024


def psf_to_text(
    psf: galsim.GSObject, pixel_scale_arcsec: float
) -> tuple[str, list[np.ndarray], bool]:
    """Return text and arrays from which `psf_from_text` makes the PSF again.

    A profile of GalSim comes back equal. One without an exact text (a class of the user's own, a
    phase screen, a pupil given as an image) is drawn finely and interpolated.

    Args:
        psf: The PSF.
        pixel_scale_arcsec: Pixel size of the images that were drawn with it [arcsec].

    Returns:
        The text, in which ``arrays[0]`` stands for the first array; the arrays; and whether the
        PSF that they give equals this one.
    """
    try:
        text, arrays = _text(psf)
        exact = bool(psf_from_text(text, arrays) == psf)
    except Exception:  # whatever the repr of a user's own class does
        exact = False
    if not exact:
        text, arrays = _text(_drawn(psf, pixel_scale_arcsec))
    return text, arrays, exact


def psf_from_text(text: str, arrays: Sequence[np.ndarray]) -> galsim.GSObject:
    """Return the PSF of a text, without running anything but constructors of GalSim's profiles.

    Raises:
        InputError: if the text is not one of `psf_to_text`.
    """
    if len(text) > _LONGEST_TEXT:
        raise InputError(
            f"The PSF's text has {len(text)} characters, expected at most {_LONGEST_TEXT}."
        )
    try:
        with warnings.catch_warnings():
            # About the sampling of the PSF: said when it was made.
            warnings.simplefilter("ignore", galsim.GalSimWarning)
            psf = _build(ast.parse(text.strip(), mode="eval").body, arrays)
    except InputError:
        raise
    except Exception as error:  # of the parser, or of a constructor that takes no such arguments
        raise InputError(
            f"The PSF's text {text[:60]!r} cannot be read ({type(error).__name__}: {error})."
        ) from error
    if not isinstance(psf, galsim.GSObject):
        raise InputError(f"Expected the text of a galsim.GSObject, got {text[:60]!r}.")
    return psf


def _text(psf: galsim.GSObject) -> tuple[str, list[np.ndarray]]:
    arrays: list[np.ndarray] = []

    def refer(array: np.ndarray) -> str:
        arrays.append(array)
        return f"arrays[{len(arrays) - 1}]"

    with np.printoptions(override_repr=refer):
        return repr(psf), arrays


def _build(node: ast.expr, arrays: Sequence[np.ndarray]) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_build(operand, arrays)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_build(item, arrays) for item in items]
        case ast.Subscript(value=ast.Name(id="arrays"), slice=ast.Constant(value=int() as index)):
            return arrays[index]
        case ast.Name() | ast.Attribute() if ast.unparse(node) in _CONSTANTS:
            return _CONSTANTS[ast.unparse(node)]
        case ast.Call(func=ast.Attribute(value=ast.Name()) as name, args=args, keywords=keywords):
            constructor = _CONSTRUCTORS.get(ast.unparse(name))
            if constructor is not None and all(keyword.arg for keyword in keywords):
                return constructor(
                    *(_build(arg, arrays) for arg in args),
                    **{str(keyword.arg): _build(keyword.value, arrays) for keyword in keywords},
                )
    raise InputError(
        "Expected numbers, lists, arrays and profiles of GalSim in the text of a PSF, got "
        f"{ast.unparse(node)[:60]!r}."
    )


def _drawn(psf: galsim.GSObject, pixel_scale_arcsec: float) -> galsim.InterpolatedImage:
    """Return a PSF as a fine image of itself, flux and centre kept."""
    scale = min(pixel_scale_arcsec / _POINTS_PER_PIXEL, psf.nyquist_scale)
    # GalSim's good size leaves out half a percent of the light, and more of it is in wide wings.
    size = min(4 * psf.getGoodImageSize(scale), _MOST_POINTS)
    image = psf.drawImage(nx=size, ny=size, scale=scale, method="no_pixel", dtype=float)
    return galsim.InterpolatedImage(image, flux=psf.flux)
