"""What becomes of each true region of a scene: recognized, unrecognized, shredded, undetected...

The table of the LSST blending session of 2019, for any number of sources. Of a connected true
region of n sources (see `regions`), s are detected when each is drawn alone in the same noise (see
`alone`), and b detections are inside the region when all are there:

    recognized     s = b = n
    unrecognized   s = n, 0 < b < n
    shredded       s = n < b
    undetected     0 < s = b < n
    merged         s = 0, b > 0
    other          everything else, such as s = n, b = 0

A source is detected alone by a detection that is inside by the same rule: on its pixels, or within
the matching radius. Regions count if all of their sources are in bounds.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch
from btk.deblend import Deblender

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.alone import check_deblender, found_alone
from btk_punet.evaluation.scoring.regions import SceneRegions
from btk_punet.simulation.survey import pixel_scale_arcsec

# Every combination of s and b with n, and what it is called.
COMBINATIONS = {
    "s = n, b = n": "recognized",
    "s = n, 0 < b < n": "unrecognized",
    "s = n, b > n": "shredded",
    "0 < s < n, b = s": "undetected",
    "s = 0, 0 < b < n": "merged",
    "s = 0, b = n": "merged",
    "s = 0, b > n": "merged",
    "s = n, b = 0": "other",
    "0 < s < n, b = 0": "other",
    "0 < s < n, 0 < b < s": "other",
    "0 < s < n, s < b < n": "other",
    "0 < s < n, b = n": "other",
    "0 < s < n, b > n": "other",
    "s = 0, b = 0": "other",
}
OUTCOMES = tuple(dict.fromkeys(COMBINATIONS.values()))


def combinations_of(n: np.ndarray, s: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return which of `COMBINATIONS` each region is.

    Args:
        n: Number of sources, shape (m,).
        s: How many of them are detected alone.
        b: How many detections are inside the region.

    Returns:
        Strings, shape (m,).
    """
    n, s, b = (np.asarray(number, int) for number in (n, s, b))
    some = (s > 0) & (s < n)
    alone = np.select([s == n, some], ["s = n", "0 < s < n"], "s = 0")
    inside = np.select(
        [b == 0, b > n, b == n, ~some, b < s, b == s],
        ["b = 0", "b > n", "b = n", "0 < b < n", "0 < b < s", "b = s"],
        "s < b < n",
    )
    return np.array([f"{of_s}, {of_b}" for of_s, of_b in zip(alone, inside, strict=True)], object)


def region_table(
    blend_batch: BlendBatch,
    truth: pd.DataFrame,
    detections: pd.DataFrame,
    deblenders: Mapping[str, Deblender],
    first_scene: int = 0,
    radius_arcsec: float = 0.3,
    k: float = 1.0,
    least_sources: int = 2,
) -> pd.DataFrame:
    """Return what becomes of each region of a batch: the deblenders run on each source alone.

    Every method runs over one more batch, in which each blend is a single source (over a few if
    they are very many).

    Args:
        blend_batch: The scenes.
        truth: Truth table of `batch_tables` of these scenes.
        detections: Detection table of the same.
        deblenders: The deblender of each method in the tables, by the method's name; methods
            without one are left out.
        first_scene: Number of the batch's first scene in the tables.
        radius_arcsec: Matching radius [arcsec].
        k: A pixel belongs to a source above this [sigma of the background].
        least_sources: Regions of fewer sources are left out.

    Returns:
        One row per region and method: ``scene``, ``method``, ``region`` (its number in the scene,
        in the order of the regions' first sources), ``n``, ``s``, ``b``, ``outcome`` (one of
        `OUTCOMES`), ``combination`` (one of `COMBINATIONS`), ``x``, ``y`` (mean of the sources'
        positions [pixel]), ``neighbour_distance_arcsec`` (between the closest two of its
        sources), ``magnitude_difference`` (between its brightest two), ``limit_snr`` (of the
        hardest, the least; NaN if the truth table has none). Of one source, distance and
        difference are infinite.

    Raises:
        InputError: if the tables or a deblender's result do not fit the batch.
        InputTypeError: for something else than deblenders.
        BatchFailedError: if a deblender fails on the images of single sources.
    """
    check_options(k, least_sources)
    if not deblenders:
        raise InputError("No deblender given: give those of the methods in the tables, by name.")
    for deblender in deblenders.values():
        check_deblender(deblender)
    scale = pixel_scale_arcsec(blend_batch.survey)
    of_scenes = _truth_of_scenes(blend_batch, truth, list(deblenders), first_scene)
    regions = [
        SceneRegions.of_scene(blend_batch, scene, of_scene, k)
        for scene, of_scene in enumerate(of_scenes)
    ]
    of_regions = [
        of_scene.table(rows, scale) for of_scene, rows in zip(regions, of_scenes, strict=True)
    ]
    table = pd.concat(of_regions, ignore_index=True)
    table.insert(0, "scene", np.repeat(np.arange(len(regions)), [len(rows) for rows in of_regions]))
    counted = (table["n"] >= least_sources) & table.pop("in_bounds")
    table = table[counted].reset_index(drop=True)

    # The sources of the regions that are left, and the rows of these.
    places = list(zip(table["scene"], table["region"], strict=True))
    members = [np.flatnonzero(regions[scene].of_source == number) for scene, number in places]
    row = np.repeat(np.arange(len(table)), table["n"])
    alone = found_alone(
        blend_batch,
        regions,
        table["scene"].to_numpy()[row],
        np.concatenate([np.zeros(0, int), *members]),
        deblenders,
        radius_arcsec / scale,
    )
    tables = []
    for method in deblenders:
        of_method = detections[detections["method"] == method]
        scenes = of_method["scene"].to_numpy(int) - first_scene
        s = np.bincount(row[alone[method]], minlength=len(table))
        b = _numbers_inside(regions, places, of_method, scenes, radius_arcsec / scale)
        tables.append(_with_outcomes(table, method, s, b))
    joined = pd.concat(tables, ignore_index=True)
    return joined.assign(scene=joined["scene"] + first_scene)


def check_options(k: float, least_sources: int) -> None:
    """Raise InputError for options of `region_table` that are out of range."""
    if not k > 0:
        raise InputError(f"k must be above 0 sigma, got {k}.")
    if not least_sources >= 1:
        raise InputError(
            f"least_sources must be at least 1, got {least_sources}; 2 counts blends alone."
        )


def _truth_of_scenes(
    blend_batch: BlendBatch, truth: pd.DataFrame, methods: list[str], first_scene: int
) -> list[pd.DataFrame]:
    """Return the rows of the truth table of each scene, those of any one method."""
    known = list(dict.fromkeys(truth["method"]))
    missing = [method for method in methods if known and method not in known]
    if missing:
        raise InputError(f"The deblenders {missing} are not among the methods of truth, {known}.")
    truth = truth[truth["method"] == known[0]] if known else truth
    numbers = truth["scene"].to_numpy(int) - first_scene
    sizes = [len(catalog) for catalog in blend_batch.catalog_list]
    if not np.array_equal(numbers, np.repeat(np.arange(len(sizes)), sizes)):
        raise InputError(
            f"truth must hold the {sum(sizes)} sources of the batch, in the scenes {first_scene} "
            f"to {first_scene + len(sizes) - 1}; got {len(truth)} in the scenes "
            f"{sorted(set(truth['scene']))[:5]}. Give the tables of batch_tables of this batch, "
            "and the first_scene that they were made with."
        )
    return [truth[numbers == scene] for scene in range(len(sizes))]


def _numbers_inside(
    regions: list[SceneRegions],
    places: list[tuple[int, int]],
    detections: pd.DataFrame,
    scenes: np.ndarray,
    radius_pixels: float,
) -> np.ndarray:
    """Return how many detections of one method are inside each of some regions.

    Args:
        regions: The regions of each scene.
        places: Scene, and region in it, of those that are wanted.
        detections: Rows of one method of the detection table.
        scenes: Number of the scene in the batch of each row.
        radius_pixels: Matching radius.
    """
    numbers = Counter[tuple[int, int]]()
    for scene, found in detections.groupby(scenes):
        x, y, source = (found[name].to_numpy() for name in ("x", "y", "source"))
        inside = regions[scene].inside(x, y, source, radius_pixels)
        numbers.update((scene, number) for number in inside.tolist())
    return np.array([numbers[place] for place in places], int)


def _with_outcomes(table: pd.DataFrame, method: str, s: np.ndarray, b: np.ndarray) -> pd.DataFrame:
    """Return the rows of the regions with the columns of one method."""
    combination = combinations_of(table["n"].to_numpy(), s, b)
    outcome = [COMBINATIONS[name] for name in combination]
    columns = {"s": s, "b": b, "outcome": outcome, "combination": combination}
    table = table.copy()
    table.insert(1, "method", method)
    for place, (name, values) in enumerate(columns.items(), list(table.columns).index("n") + 1):
        table.insert(place, name, values)
    # Without rows, pandas cannot see what the columns hold.
    return table.astype(dict.fromkeys(("method", "outcome", "combination"), str))
