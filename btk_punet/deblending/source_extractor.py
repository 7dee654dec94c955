"""The real SExtractor, run as a program on the images of a batch."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from btk.survey import Survey

from btk_punet.deblending.isophotal import (
    SMOOTHING,
    Extraction,
    IsophotalDeblender,
    position_variances,
)
from btk_punet.errors import InputError, MissingProgramError, ProgramFailedError

# Debian's name first, then the name in the program's own releases and on conda-forge.
_PROGRAM_NAMES = ("source-extractor", "sex")

_COLUMNS = ("NUMBER", "X_IMAGE", "Y_IMAGE", "FLUX_ISO")

_MAX_NTHRESH = 64  # the program's own limit


class SourceExtractorDeblender(IsophotalDeblender):
    """SExtractor (Bertin & Arnouts 1996, A&AS 117, 393) on one band; version 2.25 was tested.

    It runs with the survey's noise, no background subtraction, the default 3x3 filter and the
    default cleaning, so that it differs from `SepDeblender` in the program alone.

    The program is called once for each image. One call for many images (a file with extensions,
    or a mosaic) takes half the time or less, but SExtractor hands the faint pixels of a blend to
    its members by random numbers that run on from image to image, so fluxes and footprints would
    depend on the other images of the batch.

    Catalog, segmentation and errors are those of `IsophotalDeblender`, as are all parameters but:

    Args:
        max_n_sources: See `IsophotalDeblender`, as for the following.
        thresh: Detection threshold in background sigmas.
        minarea: Smallest number of pixels of a source.
        deblend_cont: SExtractor's DEBLEND_MINCONT.
        deblend_nthresh: SExtractor's DEBLEND_NTHRESH, at most 64.
        use_band: Name or index of the band; by default the survey's reference band.
        binary: Name or path of the program; by default `source-extractor` or `sex`, whichever is
            found on the PATH.

    Raises:
        MissingProgramError: The program is not installed.
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
        binary: str | None = None,
    ) -> None:
        super().__init__(max_n_sources, thresh, minarea, deblend_cont, deblend_nthresh, use_band)
        self.binary = binary
        if deblend_nthresh > _MAX_NTHRESH:
            raise InputError(
                f"deblend_nthresh must be at most {_MAX_NTHRESH} for SExtractor, got "
                f"{deblend_nthresh}. Use SepDeblender for more."
            )
        self._find()  # now, and not hours later in the first batch

    @classmethod
    def availability(cls, survey: Survey) -> str:
        """Return that the program is not installed; empty if it is."""
        if cls.is_available():
            return ""
        return (
            f"SExtractor is left out: the program {_PROGRAM_NAMES[0]} is not installed "
            f"(apt-get install {_PROGRAM_NAMES[0]})."
        )

    @staticmethod
    def is_available() -> bool:
        """Return whether SExtractor is found on the PATH."""
        return any(shutil.which(name) for name in _PROGRAM_NAMES)

    def versions(self) -> dict[str, str]:
        """Return the version of the program, by its Debian name."""
        return {_PROGRAM_NAMES[0]: self.version()}

    def version(self) -> str:
        """Return the version of the program, such as "2.25.0".

        Raises:
            MissingProgramError: The program is no longer installed.
            ProgramFailedError: The program does not tell its version.
        """
        printed = _call([self._find(), "--version"])
        found = re.search(r"version\s+(\S+)", printed)
        if found is None:
            raise ProgramFailedError(
                f"Expected a version from {self._find()}, got {printed!r}. Is it SExtractor?"
            )
        return found[1]

    def _find(self) -> str:
        """Return the path of the program."""
        names = _PROGRAM_NAMES if self.binary is None else (str(self.binary),)
        for name in names:
            if path := shutil.which(name):
                return str(Path(path).absolute())  # it will run in another folder
        raise MissingProgramError(
            f"SourceExtractorDeblender needs the program {' or '.join(names)}, which is not on "
            "the PATH. Install it with `apt-get install source-extractor` or `conda install -c "
            "conda-forge astromatic-source-extractor`, or pass its path as `binary`."
        )

    def _extract(self, images: np.ndarray, sigma: float) -> list[Extraction]:
        program = self._find()
        shape = images.shape[1:]
        with tempfile.TemporaryDirectory(prefix="btk_punet_") as folder:
            path = Path(folder)
            lines = ["CONV NORM", *(" ".join(map(str, row)) for row in SMOOTHING)]
            (path / "filter.conv").write_text("\n".join(lines) + "\n")
            (path / "columns.param").write_text("\n".join(_COLUMNS) + "\n")
            (path / "config.sex").write_text(self._configuration(shape, sigma))
            return [_extract_one(program, path, image, sigma) for image in images]

    def _configuration(self, shape: tuple[int, ...], sigma: float) -> str:
        """Return the text of the configuration file."""
        height, width = shape
        values = {
            "CATALOG_NAME": "catalog.fits",
            "CATALOG_TYPE": "FITS_LDAC",
            "PARAMETERS_NAME": "columns.param",
            "CHECKIMAGE_NAME": "segmentation.fits",
            "CHECKIMAGE_TYPE": "SEGMENTATION",
            "VERBOSE_TYPE": "QUIET",
            "WRITE_XML": "N",
            "FILTER_NAME": "filter.conv",
            # Not relative, as SExtractor would measure the noise on the image, sources included.
            "THRESH_TYPE": "ABSOLUTE",
            "DETECT_THRESH": f"{self.thresh * sigma:.9g}",
            "ANALYSIS_THRESH": f"{self.thresh * sigma:.9g}",
            "DETECT_MINAREA": self.minarea,
            "DEBLEND_NTHRESH": self.deblend_nthresh,
            "DEBLEND_MINCONT": f"{self.deblend_cont:.9g}",
            "BACK_TYPE": "MANUAL",
            "BACK_VALUE": 0.0,
            # The pixel stack must hold the whole image: SExtractor drops pixels when it is full.
            # A larger one costs time, as it is filled in at every call.
            "MEMORY_PIXSTACK": max(2 * height * width, 1000),
            "MEMORY_OBJSTACK": 10000,
            "MEMORY_BUFSIZE": max(height, 8),
        }
        return "".join(f"{key} {value}\n" for key, value in values.items())


def _extract_one(program: str, folder: Path, image: np.ndarray, sigma: float) -> Extraction:
    """Run the program in a folder that holds its configuration."""
    catalog_path, segmentation_path = folder / "catalog.fits", folder / "segmentation.fits"
    # Else a call that writes nothing would leave the results of the image before.
    catalog_path.unlink(missing_ok=True)
    segmentation_path.unlink(missing_ok=True)
    image = image.astype(np.float32)  # the precision that the program works in
    fits.PrimaryHDU(image).writeto(folder / "image.fits", overwrite=True)
    printed = _call([program, "image.fits", "-c", "config.sex"], folder)
    if not (catalog_path.exists() and segmentation_path.exists()):
        raise ProgramFailedError(f"{program} wrote no results. It printed: {printed}")

    # Not mapped into memory: a long batch would run out of open files.
    labels = fits.getdata(segmentation_path, memmap=False).astype(np.int32)
    # A plain array, as astropy's FITS_rec is slow.
    rows = np.array(fits.getdata(catalog_path, 2, memmap=False))  # 1: header of the image
    rows = rows[np.argsort(rows["NUMBER"])]  # the labels: row i is marked i + 1
    x, y = rows["X_IMAGE"] - 1.0, rows["Y_IMAGE"] - 1.0  # FITS counts from 1
    columns = {"x": x, "y": y, "flux": rows["FLUX_ISO"]}
    columns["errx2"], columns["erry2"] = position_variances(image, labels, x, y, sigma)
    sources = np.zeros(len(rows), dtype=[(name, float) for name in columns])
    for name, values in columns.items():
        sources[name] = values
    return Extraction(sources, labels)


def _call(command: list[str], folder: Path | None = None) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    printed = f"{done.stdout}\n{done.stderr}".strip()
    if done.returncode != 0:
        raise ProgramFailedError(
            f"{' '.join(command)} failed with exit status {done.returncode}. It printed: {printed}"
        )
    return printed
