"""The Probabilistic U-Net as a BTK deblender."""

from __future__ import annotations

import dataclasses
import numbers
import warnings
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
from astropy.table import Table
from btk.blend_batch import BlendBatch, DeblendBatch, DeblendExample
from btk.survey import Survey

from btk_punet.deblending import instances
from btk_punet.deblending.base import (
    DetectingDeblender,
    check_integer,
    installed_versions,
    plain_floats,
    usable_pixels,
)
from btk_punet.deblending.catalog import FootprintsOfImages, detection_catalog, position_errors
from btk_punet.deblending.conditions import batch_conditions, unlike_training
from btk_punet.deblending.density import UNTOLD_DENSITY_RATIO, batch_density_ratio
from btk_punet.deblending.flags import DetectionFlag
from btk_punet.deblending.instances import Candidates
from btk_punet.deblending.light.judged import JudgedCandidates
from btk_punet.deblending.light.scenes import Light, SceneLight
from btk_punet.deblending.noise import bands_together, noise_normalised
from btk_punet.deblending.posterior import PosteriorMaps
from btk_punet.deblending.recipe import DetectionRecipe, reweighted
from btk_punet.deblending.surroundings import Surroundings, density_of, depth_of
from btk_punet.errors import BtkPunetWarning, InputError, InputTypeError
from btk_punet.model.shared import shared_network
from btk_punet.model.weights import installed_presets, is_told_density, weights_fingerprint
from btk_punet.simulation.catalog import EuclidCatalog
from btk_punet.simulation.survey import pixel_scale_arcsec, reference_band

if TYPE_CHECKING:
    from btk_punet.model.proba_unet import ProbaUNet
    from btk_punet.simulation.scenes import SceneGenerator

_PRESET, _PRESET_BANDS = "euclid-vis", ["IE"]

# Candidates down to this probability are in `extra_data`, to sweep the threshold afterwards.
LEAST_CANDIDATE = 0.02
# What can be told of the galaxies, and as which number (see `Measures`).
_TOLD_OF_GALAXIES = {"smooth": -1.0, "unknown": 0.0, "real": 1.0}


class ProbaUNetDeblender(DetectingDeblender):
    """Detects and segments sources with a `ProbaUNet`, and says how sure it is.

    All images of a batch go through the network at once; ``njobs`` is not needed. The noise is
    the survey's own (`background_variance`), by which the images are divided. Pixels without a
    usable value (NaN, infinite, beyond 1e25 electrons) are masked: the network does not see them.

    The catalog of an image has a row for each detection, the most probable first:

    - ``ra``, ``dec`` [arcsec]: BTK's world coordinates; ``ra`` is negative left of the centre.
    - ``x_peak``, ``y_peak`` [pixel]: the centre, by the fit; 0-based, pixel centres at integers, x
      the column.
    - ``x_err``, ``y_err`` [pixel]: half-width that holds 68% of the true positions.
    - ``p_detect``: calibrated probability that a source is there (see `Matcher`): by the network,
      and by what the pixels say in the fit of light.
    - ``p_blend``: calibrated probability that another source overlaps its footprint.
    - ``flux``, ``flux_err`` [electron]: total flux by the fit, its neighbours' light taken off, and
      the half-width that holds 68% of the true fluxes; in I_E, else i or r, else the first band.
    - ``mag_<band>``, ``mag_err_<band>`` [AB mag]: of ``flux``; NaN where it is not positive.
    - ``flux_iso`` [electron]: sum over the footprint, a pixel of several sources shared evenly.
    - ``half_light_radius`` [arcsec]: of the circle with the area of the ellipse that holds half of
      the light, before the PSF.
    - ``e1``, ``e2``: ellipticity along the axes and along the diagonals, (a - b) / (a + b) long
      (GalSim's g), before the PSF.
    - ``n_pixels``: number of pixels of the footprint.
    - ``blend_id``: one number for all whose footprints hang together in the image.
    - ``flags``: bits of `DetectionFlag`. With FIT_FAILED the place is the network's, ``flux`` is
      ``flux_iso``, and size and shape are NaN.

    The segmentation is bool, ``(max_n_sources, H, W)`` an image, in the order of the catalog; a
    pixel of an overlap belongs to every source that covers it. ``deblended_images`` are the fitted
    models [electron], float32 ``(max_n_sources, bands, H, W)`` an image: each source as it would
    be alone, seen through the PSF, without noise; zeros where the fit failed. ``extra_data`` has a
    dict for each image:

    - ``class_probability`` ``(3, H, W)``: of background, isolated and blended.
    - ``class_mean``, ``class_variance`` ``(H, W)``: over samples, of the most probable class.
    - ``centre_probability`` ``(H, W)``: that the pixel holds the centre of a source.
    - ``count_posterior`` ``(max_n_sources + 1,)``: probabilities that the image holds the centres
      of 0, 1, ... sources with ``alone_snr > 2``, those that no candidate shows included; the
      last entry is that of so many or more.
    - ``density_ratio``: under which the image was judged (see Args), a number.
    - ``candidates``: table of ``x_peak``, ``y_peak``, ``x_err``, ``y_err`` and ``p_detect`` of all
      candidates down to a probability of 0.02, whatever the threshold.
    - ``evidence``: table of what each of these was judged by (see `Measures`): ``p_network``, the
      probability by the network alone; by the fit of light ``is_fitted``, whether that gives it
      0.5 or more, ``gain`` [sigma], by how much the pixels are better described with it,
      ``share``, of its light, that no neighbour could give, ``move`` [pixel], how far the first
      fit is from the network's place, ``excess``, of chi squared within 8 pixels; its
      surroundings, and the classes there and around; ``real``, what was told of the galaxies.
      Not with ``light=False``.

    Args:
        max_n_sources: Largest number of detections to return for an image.
        weights: Name of a preset of this package, or a folder that `ProbaUNet.save` wrote (or
            ``btk-punet train``), or a `ProbaUNet`, whose probabilities are not calibrated.
        n_samples: Number of samples of the posterior.
        threshold: Smallest ``p_detect`` of a detection.
        seed: Seed of the samples.
        density_ratio: How many times as dense as in the sky sources are expected to lie around a
            source: of those brighter than I_E = 25.3, 0.16 within 2 arcsec. A network that was
            trained for it is told (see `ProbaUNet`); another one takes its training's density for
            1, and ``p_detect`` and the counts are reweighted (see `reweighted`). If None: what a
            run on scenes of a known sampling says of them (see `told_scenes`), else 1. If
            ``"auto"``: estimated from the images of each batch, all together (see
            `estimate_density_ratio`), with some passes of the network more.
        orientations: In how many of its 8 orientations (1, 2, 4 or 8) an image goes through the
            network; each gives as many of the samples. Results then depend less on how the image
            is turned, at the cost of as many passes.
        light: Whether to fit the sources to the pixels, from the network's centres. If not,
            probabilities and places are those of the network alone, total fluxes, sizes and shapes
            NaN, and there are no ``deblended_images``; that saves about half of the time, and
            finds less of what lies close together.
        galaxies: What is told of the galaxies: ``"smooth"``, that each is a profile or two,
            without structure; ``"real"``, that the bright ones have the structure of the sky's;
            ``"unknown"``, nothing, and probabilities lie between. A lump on a smooth galaxy is
            another source. If None: what a run says of its scenes (see `told_scenes`), else
            nothing. It counts where the pixels are asked: not with ``light=False``.

    Raises:
        InputError: A parameter is out of its range.
        InputTypeError: ``weights`` is something else.
    """

    KEPT = "most probable"
    FEWER_BY = "threshold"

    def __init__(
        self,
        max_n_sources: int,
        weights: str | Path | ProbaUNet = _PRESET,
        n_samples: int = 16,
        threshold: float = 0.5,
        seed: int = 0,
        density_ratio: float | str | None = None,
        light: bool = True,
        orientations: int = 1,
        galaxies: str | None = None,
    ) -> None:
        super().__init__(max_n_sources)
        self.weights = weights
        self.n_samples = n_samples
        self.threshold = threshold
        self.seed = seed
        self.density_ratio = density_ratio
        self.light = light
        self.orientations = orientations
        self.galaxies = galaxies
        _check_galaxies(galaxies)
        if isinstance(density_ratio, str) and density_ratio != "auto":
            raise InputError(
                f"density_ratio must be a number above 0, 'auto' or None, got {density_ratio!r}."
            )
        if density_ratio is not None and not isinstance(density_ratio, str):
            reweighted(np.zeros(0), density_ratio)  # which checks it
        check_integer("max_n_sources", max_n_sources, lowest=1)
        check_integer("n_samples", n_samples, lowest=1)
        check_integer("seed", seed, lowest=0)
        if not isinstance(light, bool):
            raise InputTypeError(f"light must be True or False, got {light!r}.")
        if orientations not in (1, 2, 4, 8) or n_samples % orientations:
            raise InputError(
                "orientations must be 1, 2, 4 or 8, and n_samples a multiple of it, got "
                f"{orientations!r} and {n_samples!r}."
            )
        if isinstance(threshold, bool) or not isinstance(threshold, numbers.Real):
            raise InputTypeError(f"threshold must be a number in [0, 1], got {threshold!r}.")
        if not 0 <= threshold <= 1:
            raise InputError(
                f"threshold must lie in [0, 1], got {threshold!r}. It is the smallest probability "
                "of a detection, for instance 0.5."
            )
        self._own_recipe: DetectionRecipe | None = None
        self._network: tuple[ProbaUNet, DetectionRecipe] | None = None
        self._warned: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the network out where a process can load it again: TensorFlow's cannot be sent."""
        state = self.__dict__ | {"_network": None}
        if not isinstance(self.weights, str | Path):
            state["weights"] = (self.weights.get_config(), self.weights.get_weights())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build a network that was given as such anew."""
        if isinstance(state["weights"], tuple):
            from btk_punet.model.proba_unet import ProbaUNet

            config, weights = state["weights"]
            network = ProbaUNet.from_config(config)
            network.set_weights(weights)
            state["weights"] = network
        self.__dict__.update(state)

    @classmethod
    def availability(cls, survey: Survey) -> str:
        """Return why the preset cannot be used on a survey; empty if it can."""
        bands = list(survey.available_filters)
        if bands != _PRESET_BANDS:
            return (
                f"ProbaUNet is left out: its preset is for the one band {_PRESET_BANDS[0]}, and "
                f"this survey has {', '.join(bands)}. Train a network on it (btk-punet train "
                "--survey) and name that: probaunet:weights=FOLDER."
            )
        if _PRESET not in installed_presets():
            return (
                f"ProbaUNet is left out: the weights of its preset {_PRESET!r} are not installed. "
                "Train a network (btk-punet train) and name it: probaunet:weights=FOLDER."
            )
        return ""

    def warm_up(self, blend_batch: BlendBatch) -> None:
        """Load the network, and have it compiled for images of this size."""
        with warnings.catch_warnings():
            # TensorFlow's own, when it is loaded, say nothing of the scenes.
            warnings.simplefilter("ignore")
            _ = self.network
        self(blend_batch)

    def fingerprint(self) -> dict[str, object]:
        """Return the parameters, the weights as a hash of what they hold.

        Raises:
            InputError: There are no such weights.
        """
        weights = self.weights
        if isinstance(weights, str | Path):
            contents = weights_fingerprint(weights)
        else:
            # Keras numbers the networks of a process in their names.
            config = {key: value for key, value in weights.get_config().items() if key != "name"}
            contents = joblib.hash((config, weights.get_weights()))
        ratio = 1.0 if self.density_ratio is None else self.density_ratio
        own = {} if self._own_recipe is None else {"recipe": dataclasses.asdict(self._own_recipe)}
        told = {"density_ratio": ratio, "galaxies": self.galaxies or "unknown"}
        return {**super().fingerprint(), "weights": contents, **told, **own}

    def with_recipe(self, recipe: DetectionRecipe) -> ProbaUNetDeblender:
        """Return the same deblender with another calibration than that beside its weights."""
        network = None if self._network is None else (self._network[0], recipe)
        return self._copy(_own_recipe=recipe, _network=network)

    def told_scenes(self, generator: SceneGenerator) -> ProbaUNetDeblender:
        """Return the deblender that is told how dense the sources of a run lie, and of what kind.

        That is, one with the ``density_ratio`` of the sampling function (see `EuclidSampling`), to
        two digits, and the ``kind_of_galaxies`` of the generator (see `SceneGenerator`). Each
        stays as it is where it was given, or the scenes do not say; so does the density of a
        sampling with single sources, or of a network that is not told densities.
        """
        told: dict[str, Any] = {}
        sampling = getattr(generator, "sampling_function", None)
        ratio = getattr(sampling, "density_ratio", None)
        if self.density_ratio is None and ratio and self._is_told():
            told["density_ratio"] = float(f"{ratio:.2g}")
        galaxies = getattr(generator, "kind_of_galaxies", None)
        _check_galaxies(galaxies)
        if self.galaxies is None and galaxies is not None:
            told["galaxies"] = galaxies
        return self._copy(**told) if told else self

    def _copy(self, **changed: Any) -> ProbaUNetDeblender:
        """Return a copy that shares the network; the module `copy` would send it like a process."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__ | {"_warned": set()} | changed)
        return other

    def _is_told(self) -> bool:
        """Return whether the network is told densities, without loading it."""
        if isinstance(self.weights, str | Path):
            return is_told_density(self.weights)
        return self.weights.told_density

    def versions(self) -> dict[str, str]:
        """Return the versions of what the network runs on."""
        return installed_versions("keras", "tensorflow")

    @property
    def network(self) -> ProbaUNet:
        """The network, loaded when it is first needed.

        Deblenders of a process share it where their weights are the same: change a copy of it.
        """
        return self._loaded()[0]

    @property
    def recipe(self) -> DetectionRecipe:
        """Calibration and conditions that go with the weights."""
        return self._loaded()[1]

    def _loaded(self) -> tuple[ProbaUNet, DetectionRecipe]:
        if self._network is None:
            network, folder = shared_network(self.weights)
            recipe = DetectionRecipe() if self._own_recipe is None else self._own_recipe
            if folder is not None and self._own_recipe is None:
                recipe = DetectionRecipe.load(folder)
            self._network = network, recipe
        return self._network

    def home_advantage(self, generator: SceneGenerator) -> str:
        """Return how the scenes of a generator are like those of the training."""
        if isinstance(generator.catalog, EuclidCatalog):
            words = (
                "was trained on galaxies of the same kind as these (other galaxies, scenes and "
                "PSFs): on scenes of another kind expect it to do less well"
            )
        else:
            words = "was trained on galaxies like Euclid's, and these scenes are of another kind"
        if self.density_ratio == "auto":
            return f"{words}. It estimates from the images how dense sources lie"
        if self._is_told():
            ratio = 1.0 if self.density_ratio is None else self.density_ratio
            words += f". It was told that sources lie {ratio:g} times as dense as in the sky"
            if self.light and self.told_real:
                words += f", and that galaxies are {self.galaxies}"
        return words

    def deblend(self, ii: int, blend_batch: BlendBatch) -> DeblendExample:
        """Detect and segment the sources of one image.

        Args:
            ii: Index of the image in the batch.
            blend_batch: Batch of blends.

        Returns:
            Catalog, segmentation ``(max_n_sources, H, W)`` and extra data of the image.

        Raises:
            InputTypeError: ``blend_batch`` is not a BlendBatch.
            InputError: The batch has other bands than the network, or no positive noise, or the
                results do not fit in memory.
        """
        catalogs, segmentation, deblended, extra = self._run(blend_batch, [ii])
        return DeblendExample(
            self.max_n_sources,
            catalogs[0],
            n_bands=len(blend_batch.survey.available_filters),
            image_size=blend_batch.image_size,
            segmentation=segmentation[0],
            deblended_images=None if deblended is None else deblended[0],
            extra_data=extra[0],
        )

    def batch_call(self, blend_batch: BlendBatch, njobs: int = 1) -> DeblendBatch:
        """Detect and segment the sources of every image of a batch.

        Args:
            blend_batch: Batch of blends.
            njobs: Not used: the images go through the network together.

        Returns:
            Catalogs, segmentation ``(batch_size, max_n_sources, H, W)`` and extra data.

        Raises:
            InputTypeError: ``blend_batch`` is not a BlendBatch.
            InputError: The batch has other bands than the network, or no positive noise, or the
                results do not fit in memory.
        """
        catalogs, segmentation, deblended, extra = self._run(blend_batch, slice(None))
        return DeblendBatch(
            blend_batch.batch_size,
            self.max_n_sources,
            catalogs,
            n_bands=len(blend_batch.survey.available_filters),
            image_size=blend_batch.image_size,
            segmentation=segmentation,
            deblended_images=deblended,
            extra_data=extra,
        )

    def _run(
        self, blend_batch: BlendBatch, which: slice | list[int]
    ) -> tuple[list[Table], np.ndarray, np.ndarray | None, list[dict]]:
        self._check_batch(blend_batch)
        images = plain_floats(np.asarray(blend_batch.blend_images)[which])
        self._check_memory(
            (len(images), *images.shape[2:]),
            n_bands=images.shape[1] if self.light else 0,
            remedy="leave out deblended_images (light=False)" if self.light else "",
        )
        self._check_conditions(blend_batch)
        usable = np.all(usable_pixels(images), axis=1)
        every = noise_normalised(blend_batch)
        ratio, normalised = self._density_ratio(blend_batch, every), every[which]
        maps = PosteriorMaps.from_network(
            self.network,
            normalised,
            self.n_samples,
            self.seed,
            usable,
            ratio if self.network.told_density else None,
            self.orientations,
        )
        index = reference_band(blend_batch.survey)
        # Here and not for each image: surveycodex's units take half a millisecond.
        conditions = batch_conditions(blend_batch)
        together = bands_together(normalised, usable)
        candidates = self.calibrated(
            instances.find_candidates(maps.centre_probability),
            ratio,
            together,
            conditions[index].background,
        )
        unseen = self.recipe.unseen(
            images.shape[-2] * images.shape[-1],
            float(depth_of(conditions[index].background)),
            density_of(self.told_ratio(ratio)),
        )
        footprints = FootprintsOfImages(
            maps.class_probability, images[:, index], usable, conditions[index]
        )
        judged = None
        if self.light:
            light = SceneLight(images, usable, conditions, index)
            judged = JudgedCandidates.by(
                light,
                candidates,
                np.flatnonzero(candidates.mass >= min(LEAST_CANDIDATE, self.threshold)),
                footprints.first_flux(candidates),
                self.recipe.evidence,
                self.surroundings(candidates, ratio, together, conditions[index].background),
                maps.class_probability,
                self.told_real,
            )
            candidates = judged.candidates

        shape = (len(images), self.max_n_sources, *images.shape[2:])
        segmentation = np.zeros(shape, bool)
        n_called, rows, prints = [], [], []
        for i in range(len(images)):
            (called,) = np.nonzero((candidates.image == i) & (candidates.mass >= self.threshold))
            n_called.append(len(called))
            rows.append(called[: self.max_n_sources])
            covered, own_light = footprints.of(i, candidates.take(rows[-1]))
            segmentation[i][covered.owner, covered.row, covered.column] = True
            prints.append(own_light)
        lights: list[Light] | list[None] = [None] * len(images)
        deblended, evidence = None, []
        if judged is not None:
            deblended = np.zeros((*shape[:2], *images.shape[1:]), np.float32)
            lights = self._measured(judged, rows, deblended)
            kept = np.flatnonzero(candidates.mass >= LEAST_CANDIDATE)
            # One table, of which each image has its part: to make as many of them takes longer.
            measures = Table(vars(judged.measures(kept)), copy=False)
            ends = np.searchsorted(candidates.image[kept], np.arange(len(images) + 1))
            evidence = [measures[slice(*own)] for own in pairwise(ends)]
        catalogs, extra = [], []
        for i in range(len(images)):
            catalog = detection_catalog(
                candidates.take(rows[i]),
                prints[i],
                lights[i],
                self.recipe,
                blend_batch.survey.available_filters[index],
                conditions[index].unit_magnitude,
                blend_batch.wcs,
            )
            if n_called[i] > self.max_n_sources:
                catalog["flags"] |= int(DetectionFlag.TRUNCATED)
            catalogs.append(catalog)
            extra.append(self._extra_data(i, maps, candidates, catalog, unseen))
            extra[-1]["density_ratio"] = ratio
            if evidence:
                extra[-1]["evidence"] = evidence[i]
        self._warn_if_truncated(n_called)
        return catalogs, segmentation, deblended, extra

    def _measured(
        self, judged: JudgedCandidates, rows: list[np.ndarray], deblended: np.ndarray
    ) -> list[Light]:
        """Return the light of the detections of each image, and draw them.

        Args:
            judged: The candidates.
            rows: Which of them are the detections of each image.
            deblended: Filled with the image of each, ``(b, max_n_sources, bands, H, W)``.
        """
        light, models = judged.measure(np.concatenate([[], *rows]).astype(int), self.recipe.light)
        places = [np.arange(len(own)) for own in rows]
        models.draw(np.concatenate([[], *places]).astype(int), deblended)
        ends = np.cumsum([len(own) for own in rows])
        return [light.take(slice(end - len(own), end)) for own, end in zip(rows, ends, strict=True)]

    @property
    def told_real(self) -> float:
        """What is told of the galaxies, as a number (see `Measures`)."""
        return _TOLD_OF_GALAXIES[self.galaxies or "unknown"]

    def told_ratio(self, density_ratio: float) -> float:
        """Return the density ratio that calibration knows of: 1 of a network that is not told."""
        return density_ratio if self.network.told_density else 1.0

    def calibrated(
        self,
        candidates: Candidates,
        density_ratio: float,
        normalised: np.ndarray,
        variance: float | np.ndarray | None,
    ) -> Candidates:
        """Return candidates with the network's probabilities, calibrated.

        Of each image the most probable comes first.

        Args:
            candidates: As they come from the maps.
            density_ratio: Under which they are judged.
            normalised: The images, divided by the noise, as `Surroundings.measure` takes them.
            variance: Of the background, as it takes it.
        """
        surroundings = self.surroundings(candidates, density_ratio, normalised, variance)
        shift = self.recipe.surroundings(surroundings, candidates.mass)
        p_detect = self.recipe.p_detect(candidates.mass, shift)
        if not self.network.told_density:
            p_detect = reweighted(p_detect, density_ratio)
        order = np.lexsort((-p_detect, candidates.image))
        return dataclasses.replace(candidates, mass=p_detect).take(order)

    def surroundings(
        self,
        candidates: Candidates,
        density_ratio: float,
        normalised: np.ndarray,
        variance: float | np.ndarray | None,
    ) -> Surroundings:
        """Return the surroundings of candidates; the arguments are those of `calibrated`."""
        return Surroundings.measure(
            candidates.image,
            candidates.x,
            candidates.y,
            candidates.mass,
            normalised,
            variance,
            self.told_ratio(density_ratio),
        )

    @property
    def fixed_density_ratio(self) -> float:
        """The density ratio where it is not estimated from the images: the sky's if none is given.

        Raises:
            InputError: if it is ``"auto"``.
        """
        if isinstance(self.density_ratio, str):
            raise InputError(
                f"density_ratio must be a number above 0 here, got {self.density_ratio!r}: it is "
                "estimated for BTK's batches alone."
            )
        return 1.0 if self.density_ratio is None else float(self.density_ratio)

    def _density_ratio(self, blend_batch: BlendBatch, normalised: np.ndarray) -> float:
        """Return the density ratio under which a batch is judged.

        Args:
            blend_batch: The batch, of which all images count, whichever are asked for.
            normalised: All of its images, divided by the noise.
        """
        if not isinstance(self.density_ratio, str):
            return self.fixed_density_ratio
        told = self.network.told_density
        images = np.asarray(blend_batch.blend_images)
        usable = np.all(usable_pixels(images), axis=1)
        images = np.where(usable[:, None], images, 0.0)
        together = bands_together(normalised, usable)
        variance = batch_conditions(blend_batch)[reference_band(blend_batch.survey)].background

        def candidates(ratio: float | None) -> Candidates:
            maps = PosteriorMaps.from_network(
                self.network, normalised, self.n_samples, self.seed, usable, ratio,
                self.orientations,
            )  # fmt: skip
            return instances.find_candidates(maps.centre_probability)

        # One that is not told has the same candidates under any density, and another unit of it.
        once = None if told else candidates(None)
        unit = 1.0 if told else UNTOLD_DENSITY_RATIO

        def judged(ratio: float) -> Candidates:
            found = candidates(ratio) if once is None else once
            return self.calibrated(found, ratio / unit, together, variance)

        return batch_density_ratio(blend_batch, images, judged) / unit

    def _extra_data(
        self,
        i: int,
        maps: PosteriorMaps,
        candidates: Candidates,
        catalog: Table,
        unseen: float,
    ) -> dict[str, Any]:
        (rows,) = np.nonzero((candidates.image == i) & (candidates.mass >= LEAST_CANDIDATE))
        own, some = candidates.of(i), candidates.take(rows)
        x_err, y_err = position_errors(some, self.recipe)
        columns = (some.x, some.y, x_err, y_err, some.mass)
        names = ("x_peak", "y_peak", "x_err", "y_err", "p_detect")
        table = Table({name: np.array(values) for name, values in zip(names, columns, strict=True)})
        # The catalog is their beginning, and its places may come from the fit.
        n_both = min(len(table), len(catalog))
        for name in names[:4]:
            table[name][:n_both] = catalog[name][:n_both]
        return {
            "class_probability": maps.class_probability[i],
            "class_mean": maps.class_mean[i],
            "class_variance": maps.class_variance[i],
            "centre_probability": maps.centre_probability[i],
            "count_posterior": instances.count_posterior(
                own.mass, maps.expected_counts[:, i], self.max_n_sources, unseen
            ),
            "candidates": table,
        }

    def _check_conditions(self, blend_batch: BlendBatch) -> None:
        """Raise for another number of bands; warn, once, of a pixel or PSF not trained for."""
        bands = blend_batch.survey.available_filters
        if len(bands) != self.network.n_bands:
            raise InputError(
                f"The network was trained on {self.network.n_bands} band(s), and this batch has "
                f"{len(bands)} ({', '.join(bands)}). Draw that many bands, or train a network on "
                "this survey (btk-punet train --survey)."
            )
        psfs = dict(zip(bands, blend_batch.psf, strict=True))
        for text in unlike_training(pixel_scale_arcsec(blend_batch.survey), psfs, self.recipe):
            self._warn(text)

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            warnings.warn(f"{self!r}: {text}.", BtkPunetWarning, stacklevel=5)


def _check_galaxies(galaxies: object) -> None:
    # One by one, as what is given may have no hash.
    if galaxies not in (None, *_TOLD_OF_GALAXIES):
        raise InputError(
            f"galaxies must be 'smooth', 'real', 'unknown' or None, got {galaxies!r}. The sky's "
            "are real; those of most simulations are smooth profiles."
        )
