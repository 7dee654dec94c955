"""SEP with the survey's true noise, and every parameter that splits blends."""

import numpy as np
import sep

from btk_punet.deblending.isophotal import Extraction, IsophotalDeblender


class SepDeblender(IsophotalDeblender):
    """SEP (Barbary 2016, JOSS 1, 58), the library form of SExtractor, on one band.

    Unlike `btk.deblend.SepSingleBand` it takes the noise from the survey and not from the image,
    where a bright blend passes for noise; it takes the deblending parameters too, and keeps the
    brightest of too many detections. Filter and cleaning are SEP's defaults.

    SEP stops on images that fill its buffers. This class then enlarges them, once, for the whole
    process (`sep.set_extract_pixstack`, `sep.set_sub_object_limit`), and runs again.

    Catalog, segmentation, parameters and errors are those of `IsophotalDeblender`.
    """

    def _extract(self, images: np.ndarray, sigma: float) -> list[Extraction]:
        return [Extraction(*self._extract_one(image, sigma)) for image in images]

    def _extract_one(self, image: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
        """Run SEP, and again with larger buffers as long as these are what stops it."""
        while True:
            try:
                return sep.extract(
                    image,
                    self.thresh,
                    err=sigma,
                    gain=1.0,  # electrons; enters the errors of the position only
                    minarea=self.minarea,
                    deblend_cont=self.deblend_cont,
                    deblend_nthresh=self.deblend_nthresh,
                    segmentation_map=True,
                )
            # SEP has no error class of its own, and tells what happened in words only.
            except Exception as error:
                if not _enlarge_sep_buffer(str(error), image.size):
                    raise


def _enlarge_sep_buffer(message: str, n_pixels: int) -> bool:
    """Enlarge the buffer of SEP that an error message names; False if that cannot help."""
    # Not larger than needed: SEP fills the whole stack in at every call (0.4 s for a huge one).
    if "pixel buffer full" in message and sep.get_extract_pixstack() <= n_pixels:
        sep.set_extract_pixstack(n_pixels + 1)
        return True
    if "deblending overflow" in message and sep.get_sub_object_limit() < n_pixels:
        sep.set_sub_object_limit(min(8 * sep.get_sub_object_limit(), n_pixels))
        return True
    return False
