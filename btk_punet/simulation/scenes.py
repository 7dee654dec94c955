"""Scenes that each have a seed of their own: sampling, noise and batches around any drawing.

BTK's `DrawBlendsGenerator` runs through one random stream, so that batch 7 can only be had after
the six before it, differs with the number of jobs, and has galaxy and background noise from one
seed. Here scene ``s`` of a run depends on the seed and on ``s`` alone.
"""

import math
from collections.abc import Sequence

import galsim
import numpy as np
from astropy.table import Table
from btk.blend_batch import BlendBatch, MultiResolutionBlendBatch
from btk.draw_blends import DrawBlendsGenerator
from btk.survey import Filter, Survey, make_wcs
from btk.utils import DEFAULT_SEED
from tqdm.auto import tqdm

from btk_punet.cluster.kept import kept_workers
from btk_punet.cluster.ordered import in_order
from btk_punet.errors import CatalogError, InputError, InputTypeError
from btk_punet.simulation.noise import background_noise
from btk_punet.simulation.seeds import numpy_global_seed, reseeded
from btk_punet.simulation.stamps import btk_stamp_size_arcsec, check_stamp
from btk_punet.simulation.survey import background_variance, pixel_scale_arcsec

# Uses of the random numbers of a scene; each has a stream of its own.
_SAMPLING, _ROTATION, _GALAXY_NOISE, _BACKGROUND_NOISE = range(4)


class SceneGenerator(DrawBlendsGenerator):
    """Base of generators whose scenes each have a seed of their own.

    Scene ``s`` is ``s % batch_size`` of batch ``s // batch_size``. It depends on ``seed``, on the
    seed of the sampling function, and on ``s``; not on ``njobs``, ``batch_size`` or on what was
    drawn before. The sampling function is copied, never changed: each scene gets a copy with a
    fresh ``rng`` (and ``np.random`` is seeded while it runs, for those of BTK that use it). So do
    sampling functions that it holds, alone or in a list, and calls.

    Args:
        catalog: A BTK catalog.
        sampling_function: Any BTK sampling function.
        surveys: A BTK survey, or several, which give a ``MultiResolutionBlendBatch``.
        batch_size: Blends in a batch.
        njobs: Processes that draw the scenes of a batch; started once, they stay until this one
            ends. In a worker of Dask there are none besides it.
        verbose: Whether BTK's parts print what they do.
        use_bar: Whether to show a progress bar within a batch.
        add_noise: ``"all"``, ``"background"``, ``"galaxy"`` or ``"none"``.
        seed: Seed of everything that is random.
        apply_shear: Whether to apply the columns ``g1`` and ``g2`` of the sampled table.
        augment_data: Whether to rotate each galaxy at random (column ``btk_rotation``).
        first_batch: Batch that ``next`` gives first.
        sky_residual_sigma: What the subtraction of the sky left over, the same in all pixels, in
            units of the background's noise; may be negative.

    Attributes:
        kind_of_galaxies: ``"smooth"`` where each is a profile or two, ``"real"`` where the bright
            ones have the structure of real galaxies, None where neither is said. A detector may
            be told it (see `ProbaUNetDeblender`).
    """

    kind_of_galaxies: str | None = None

    def __init__(
        self,
        catalog,
        sampling_function,
        surveys,
        batch_size: int = 8,
        njobs: int = 1,
        verbose: bool = False,
        use_bar: bool = False,
        add_noise: str = "all",
        seed: int = DEFAULT_SEED,
        apply_shear: bool = False,
        augment_data: bool = False,
        first_batch: int = 0,
        sky_residual_sigma: float = 0.0,
        **kwargs,
    ):
        for name, value in [("batch_size", batch_size), ("njobs", njobs)]:
            if value < 1 or value != int(value):
                raise InputError(f"{name} must be a whole number of at least 1, got {value}.")
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise InputTypeError(f"seed must be a whole number, got {seed!r}.")
        if seed < 0:
            raise InputError(f"seed must be 0 or more, got {seed}.")
        super().__init__(
            catalog,
            sampling_function,
            surveys,
            batch_size=batch_size,
            njobs=njobs,
            verbose=verbose,
            use_bar=use_bar,
            add_noise=add_noise,
            seed=seed,
            apply_shear=apply_shear,
            augment_data=augment_data,
            **kwargs,
        )
        given = len(surveys) if isinstance(surveys, list | tuple) else 1
        if not 0 < given == len(self.surveys):
            raise InputError(
                "Expected one survey, or several with different names, by which BTK tells them "
                f"apart; got {given} of {list(self.surveys)}. Set survey.name to draw one survey "
                "in two ways."
            )
        if len(self.catalog.table) == 0:
            raise CatalogError("The catalog is empty: at least one source is needed to draw.")
        self.sampling_function = sampling_function
        self.seed = seed
        self.batch_number = first_batch
        if not np.isfinite(sky_residual_sigma):
            raise InputError(f"sky_residual_sigma must be finite, got {sky_residual_sigma}.")
        self.sky_residual_sigma = sky_residual_sigma
        for survey in self.surveys.values():
            check_stamp(survey, self._get_psf_from_survey(survey), self.stamp_size)

    def __next__(self) -> BlendBatch | MultiResolutionBlendBatch:
        """Return the next batch."""
        batch = self.draw_batch(self.batch_number)
        self.batch_number += 1
        return batch

    def draw_batch(self, batch_number: int, size: int | None = None) -> BlendBatch:
        """Return one batch, whatever was drawn before.

        Args:
            batch_number: Number of the batch, from 0.
            size: Number of blends, if fewer than ``batch_size`` (the last batch of a run).

        Returns:
            BTK's ``BlendBatch`` (``MultiResolutionBlendBatch`` for several surveys). The catalogs
            hold BTK's columns and ``outside_stamp``: the centre is not on the image, of which
            only the light that reaches it was drawn.
        """
        size = self.batch_size if size is None else size
        if batch_number < 0 or not 1 <= size <= self.batch_size:
            raise InputError(
                f"Expected a batch number of 0 or more and a size of 1 to {self.batch_size} "
                f"(batch_size), got {batch_number} and {size}."
            )
        first = batch_number * self.batch_size
        return self.draw_scenes(range(first, first + size))

    def draw_scenes(self, numbers: Sequence[int]) -> BlendBatch:
        """Return a batch of any scenes, the same as they are in their own batches.

        Args:
            numbers: Numbers of the scenes, one or more, in the order wanted.

        Returns:
            What `draw_batch` returns.
        """
        size = len(numbers)
        if size < 1 or min(numbers) < 0:
            raise InputError(f"Expected one scene or more, numbered from 0, got {list(numbers)}.")
        # Once for the batch: a survey may have a function that gives another PSF at each call.
        psfs = [self._get_psf_from_survey(survey) for survey in self.surveys.values()]
        if self.njobs == 1:
            parts = [self._draw_scenes(np.asarray(numbers), psfs)]
        else:
            numbers_of_parts = np.array_split(numbers, min(self.njobs, size))
            drawn = in_order(kept_workers(self.njobs), _draw_part, numbers_of_parts, (self, psfs))
            parts = [outcome.get() for outcome in drawn]
        batches = []
        for index, survey in enumerate(self.surveys.values()):
            images, isolated, catalogs = zip(*(part[index] for part in parts), strict=True)
            batch = BlendBatch(
                size,
                self.max_number,
                self._btk_stamp_size(survey),
                survey,
                images[0] if len(parts) == 1 else np.concatenate(images),
                isolated[0] if len(parts) == 1 else np.concatenate(isolated),
                [catalog for part in catalogs for catalog in part],
                psfs[index],
            )
            if self.sky_residual_sigma:
                for band, name in enumerate(survey.available_filters):
                    variance = background_variance(survey, survey.get_filter(name))
                    batch.blend_images[:, band] += self.sky_residual_sigma * math.sqrt(variance)
            batch.survey_name = survey.name  # MultiResolutionBlendBatch of BTK 1.0.9 asks for it
            batches.append(batch)
        return batches[0] if len(batches) == 1 else MultiResolutionBlendBatch(batches)

    def scene_seed(self, scene_number: int, use: int = _SAMPLING) -> np.random.SeedSequence:
        """Return the seed of one use of random numbers in one scene."""
        rng = getattr(self.sampling_function, "rng", None)
        seeds = getattr(getattr(rng, "bit_generator", None), "seed_seq", None)
        sampling_seed = getattr(seeds, "entropy", 0)
        return np.random.SeedSequence([self.seed, sampling_seed], spawn_key=(scene_number, use))

    def _draw_scenes(
        self, numbers: np.ndarray, psfs: list[list[galsim.GSObject]]
    ) -> list[tuple[np.ndarray, np.ndarray, list]]:
        """Return images, isolated images and catalogs of some scenes, for each survey.

        Args:
            numbers: Numbers of the scenes, counted through the run.
            psfs: The PSF of each filter, for each survey.
        """
        drawn: list[tuple[np.ndarray, np.ndarray, list]] = []
        several = len(self.surveys) > 1  # each adds columns of its own
        for survey in self.surveys.values():
            size, n_bands = self._get_pix_stamp_size(survey), len(survey.available_filters)
            # Pages of np.zeros that no stamp touches cost nothing, so the arrays of the whole
            # batch are made here and drawn into.
            images = np.zeros((len(numbers), n_bands, size, size))
            isolated = np.zeros((len(numbers), self.max_number, n_bands, size, size))
            drawn.append((images, isolated, []))
        for scene, number in enumerate(tqdm(numbers, "Drawing blends", disable=not self.use_bar)):
            table = self._sample(int(number))
            rotation = np.zeros(len(table))
            if self.augment_data:
                rng = np.random.default_rng(self.scene_seed(int(number), _ROTATION))
                rotation = rng.uniform(0.0, 360.0, len(table))
            table["btk_rotation"] = rotation
            for index, survey in enumerate(self.surveys.values()):
                images, isolated, catalogs = drawn[index]
                seeds = [
                    self.scene_seed(int(number), use).spawn(index + 1)[index]
                    for use in (_GALAXY_NOISE, _BACKGROUND_NOISE)
                ]
                catalogs.append(
                    self._draw_scene(
                        table.copy() if several else table,
                        survey,
                        psfs[index],
                        images[scene],
                        isolated[scene],
                        seeds,
                    )
                )
        return drawn

    def _sample(self, number: int) -> Table:
        seed = self.scene_seed(number, _SAMPLING)
        sampling = reseeded(self.sampling_function, seed)
        with numpy_global_seed(seed):
            table = sampling(self.catalog.table)
        self.blend_generator._check_n_sources(table)
        return table.copy()  # it may be a table that the sampling function keeps

    def _draw_scene(
        self,
        table: Table,
        survey: Survey,
        psfs: list[galsim.GSObject],
        image: np.ndarray,
        isolated: np.ndarray,
        noise_seeds: list[np.random.SeedSequence],
    ) -> Table:
        """Draw a scene into empty arrays, and return its catalog with BTK's columns.

        Args:
            table: The sampled sources.
            survey: Survey to draw.
            psfs: The PSF of each filter.
            image: The blend, shape (bands, H, W).
            isolated: Each source alone, shape (max_number, bands, H, W).
            noise_seeds: Seeds of galaxy and background noise.
        """
        size = image.shape[-1]
        wcs = make_wcs(pixel_scale_arcsec(survey), (size, size))
        x, y = wcs.world_to_pixel_values(
            np.asarray(table["ra"], float) / 3600, np.asarray(table["dec"], float) / 3600
        )
        table["x_peak"], table["y_peak"] = x, y
        middle = (size - 1) / 2
        table["outside_stamp"] = np.maximum(np.abs(x - middle), np.abs(y - middle)) > size / 2

        bands = survey.available_filters
        galaxy_seeds, background_seeds = (seed.spawn(len(bands)) for seed in noise_seeds)
        for band, (name, psf) in enumerate(zip(bands, psfs, strict=True)):
            filt = survey.get_filter(name)
            table[f"not_drawn_{name}"] = np.zeros(len(table))
            for source, entry in enumerate(table):
                where = self._draw_source(isolated[source, band], entry, filt, psf, survey)
                if where is not None:
                    image[band][where] += isolated[source, band][where]
            if self.add_noise in ("galaxy", "all"):
                photons = np.maximum(image[band], 0.0)
                noise = np.random.default_rng(galaxy_seeds[band]).poisson(photons) - photons
                image[band] += noise
            if self.add_noise in ("background", "all"):
                rng = np.random.default_rng(background_seeds[band])
                image[band] += background_noise(survey, filt, image[band].shape, rng)
        return table

    def _draw_source(
        self,
        image: np.ndarray,
        entry: Table.Row,
        filt: Filter,
        psf: galsim.GSObject,
        survey: Survey,
    ) -> tuple[slice, slice] | None:
        """Draw one source on an empty image, shape (H, W); return the rows and columns it fills.

        This is BTK's `render_single` for any generator; None where there is nothing to draw.
        """
        drawn = self.render_single(entry, filt, psf, survey)
        if drawn is None:
            return None
        image[:] = drawn.array
        return slice(None), slice(None)

    def _get_pix_stamp_size(self, survey: Survey) -> int:
        # BTK's int(8.2 / 0.1) is 81.
        return math.floor(self.stamp_size / pixel_scale_arcsec(survey) + 1e-6)

    def _btk_stamp_size(self, survey: Survey) -> float:
        """Return the stamp size [arcsec] from which BTK computes the right number of pixels."""
        size, scale = self._get_pix_stamp_size(survey), pixel_scale_arcsec(survey)
        return btk_stamp_size_arcsec(size, scale, self.stamp_size)


def _draw_part(
    shared: tuple[SceneGenerator, list[list[galsim.GSObject]]], numbers: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, list]]:
    """Draw some scenes in a worker."""
    generator, psfs = shared
    return generator._draw_scenes(numbers, psfs)
