"""Training stamps drawn by BTK's own generator, for any of its surveys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from btk.catalog import CatsimCatalog
from btk.draw_blends import CatsimGenerator

from btk_punet.errors import CatalogError
from btk_punet.simulation.catalog import read_table
from btk_punet.simulation.choices import choose_sampling, choose_survey
from btk_punet.simulation.snr import NEIGHBOUR_SNR, alone_snr
from btk_punet.simulation.survey import background_variance, pixel_scale_arcsec

# Sources of a blend stand within so much of the middle, or on all of a smaller stamp.
GROUP_RADIUS_ARCSEC = 1.6


class BlendComposer:
    """Draws batches of blends by BTK's `CatsimGenerator`, each batch from a seed of its own.

    The noise is added here: BTK draws that of galaxies and that of the sky from one seed, and what
    should be independent is then correlated.

    Bands add in quadrature: a pixel belongs to a source where the root of the summed squares of
    its flux over the background's sigma exceeds 1, and so do the bands of ``alone_snr``.

    Args:
        survey: Name of one of BTK's surveys.
        catalog: Path of a CatSim-like table.
        size: Side of a stamp [pixel].
        seed: Seed; a batch depends on it and on its step alone.

    Raises:
        InputError: if there is no such survey.
        CatalogError: if the file is no table, or lacks the magnitude of a band.
    """

    def __init__(self, survey: str, catalog: str | Path, size: int = 64, seed: int = 0):
        self.survey = choose_survey(survey, 1, 0.0, None)
        # Of this class whatever the survey: BTK's generator takes no other.
        self.catalog = CatsimCatalog(read_table(catalog))
        needed = [f"{name}_ab" for name in self.survey.available_filters]
        missing = [name for name in needed if name not in self.catalog.table.colnames]
        if missing:
            raise CatalogError(
                f"'{catalog}' lacks the magnitudes {', '.join(missing)}, which the survey {survey} "
                "needs."
            )
        self.size, self.seed = size, seed
        # Half a pixel more than the side, so that BTK's rounding down finds it.
        self._stamp_arcsec = (size + 0.5) * pixel_scale_arcsec(self.survey)
        bands = [self.survey.get_filter(name) for name in self.survey.available_filters]
        self.background = np.array([background_variance(self.survey, band) for band in bands])

    @property
    def n_bands(self) -> int:
        """Number of bands of the images."""
        return len(self.background)

    def batch(self, step: int, batch_size: int) -> dict[str, np.ndarray]:
        """Return the batch of a step, whatever was drawn before.

        Returns:
            ``image`` (b, H, W, bands) float32, in units of the background's sigma; ``class``,
            ``centre`` (b, H, W) uint8 and ``mask`` (b, H, W) bool, as `StampComposer.batch`.
        """
        seed = int(np.random.SeedSequence(self.seed, spawn_key=(step,)).generate_state(1)[0])
        sampling = choose_sampling(
            "groups",
            self.catalog,
            self.survey,
            stamp_size=self._stamp_arcsec,
            max_radius=min(GROUP_RADIUS_ARCSEC, self._stamp_arcsec / 2),
            seed=seed,
        )
        blends = next(
            CatsimGenerator(
                self.catalog,
                sampling,
                self.survey,
                batch_size=batch_size,
                add_noise="none",
                seed=seed,
            )
        )
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(step, 1)))
        sigma, sky = np.sqrt(self.background), self.background[:, None, None]
        # Rounding may leave a pixel without light a little below 0.
        noisy = rng.poisson(np.maximum(blends.blend_images, 0) + sky) - sky
        images = np.moveaxis(noisy / sigma[:, None, None], 1, -1)
        shape = images.shape[:3]
        classes, centres = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        for index, (isolated, catalog) in enumerate(
            zip(blends.isolated_images, blends.catalog_list, strict=True)
        ):
            isolated = isolated[: len(catalog)]  # (n, bands, H, W)
            if not len(isolated):
                continue
            snr2 = ((isolated / sigma[:, None, None]) ** 2).sum(axis=1)
            classes[index] = np.minimum((snr2 > 1).sum(axis=0), 2)
            snr = np.sqrt(
                sum(alone_snr(isolated[:, b], v) ** 2 for b, v in enumerate(self.background))
            )
            x, y = (np.floor(np.asarray(catalog[n], float) + 0.5) for n in ("x_peak", "y_peak"))
            bright = (
                (snr > NEIGHBOUR_SNR) & (np.minimum(x, y) >= 0) & (np.maximum(x, y) < self.size)
            )
            centres[index, y[bright].astype(int), x[bright].astype(int)] = 1
        return {
            "image": images.astype(np.float32),
            "class": classes,
            "centre": centres,
            "mask": np.ones(shape, bool),
        }
