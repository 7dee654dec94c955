"""The one way in which a run has a method deblend a batch: guarded before, checked after."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from astropy.table import Table
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.deblend import Deblender

from btk_punet.errors import MethodError

POSITIONS = ("x_peak", "y_peak", "ra", "dec")
# Columns of catalogs, and maps and distributions of `extra_data`, that are probabilities.
PROBABILITIES = ("p_detect", "p_blend")
PROBABILITY_MAPS = ("class_probability", "centre_probability", "count_posterior")
# Sums of probabilities in single precision leave 0-1 by less than this.
ROUNDING = 1e-6
# What NumPy, Cython, f2py, pybind11 and Numba say of an array that they may not write into.
_READ_ONLY = re.compile(r"read-?only|not write?able", re.IGNORECASE)


def call_method(
    deblender: Deblender, blend_batch: BlendBatch, name: str | None = None, njobs: int = 1
) -> DeblendBatch:
    """Have a method deblend a batch, which it cannot change, and check what it returns.

    The method gets the same scenes with arrays that are read only, and a copy of the images. Code
    that demands writable memory, whether it writes or not (as SEP does when it is called
    directly), is called again with a writable copy of everything, which must be the same
    afterwards.

    Args:
        deblender: The method.
        blend_batch: The scenes; the same afterwards, whatever the method does.
        name: What errors call the method; the name of its class if None.
        njobs: Processes that the method may use.

    Returns:
        What the method returns, as `check_found` demands it.

    Raises:
        MethodError: if the method changes the batch, or what it returns cannot be used.
        Exception: whatever the method raises.
    """
    name = type(deblender).__name__ if name is None else name
    before = _contents(blend_batch.catalog_list)
    try:
        with _read_only(blend_batch) as given:
            # BTK's way in, and not __call__: deblenders for whole batches override this.
            found = deblender.batch_call(given, njobs=njobs)
            changed = _changes(given, blend_batch, before, ("blend_images",))
    except Exception as error:
        if not _READ_ONLY.search(str(error)):
            raise
        given = _writable(blend_batch)
        found = deblender.batch_call(given, njobs=njobs)
        changed = _changes(given, blend_batch, before, ("blend_images", "isolated_images"))
        if changed:
            raise _changed_batch(name, changed) from error  # whose traceback says where
    if changed:
        raise _changed_batch(name, changed)
    check_found(name, found, blend_batch)
    return found


def check_found(name: str, found: object, blend_batch: BlendBatch) -> None:
    """Raise MethodError unless what a method returned for a batch can be used.

    That is a ``DeblendBatch`` with a catalog for each scene, with no more rows than the
    ``max_n_sources`` that it states; finite positions; probabilities, in catalogs and in
    ``extra_data``, that are finite and within 0-1; and images of the scenes' size.

    Args:
        name: What errors call the method.
        found: What it returned.
        blend_batch: The scenes.
    """
    if not isinstance(found, DeblendBatch):
        raise MethodError(
            f"batch_call of {name} must return a DeblendBatch, got {type(found).__name__}. Return "
            "btk.blend_batch.DeblendBatch(batch_size, max_n_sources, catalog_list, ...)."
        )
    n_scenes = blend_batch.batch_size
    if len(found.catalog_list) != n_scenes:
        raise MethodError(
            f"{name} returned {len(found.catalog_list)} catalogs for a batch of {n_scenes} "
            "scenes. Return one for each, of no rows where nothing is found."
        )
    for scene, catalog in enumerate(found.catalog_list):
        where = f"the catalog of scene {scene} of the batch"
        if not isinstance(catalog, Table):
            raise MethodError(
                f"{name} returned a {type(catalog).__name__} as {where}: expected an astropy Table."
            )
        if len(catalog) > found.max_n_sources:
            raise MethodError(
                f"{name} returned {len(catalog)} rows in {where}: expected no more than its "
                f"max_n_sources={found.max_n_sources}. Raise it, or keep the best rows."
            )
        _check_catalog(name, catalog, where, ("ra", "dec"))
    size = blend_batch.image_size
    of_all = n_scenes, found.max_n_sources
    _check_shape(name, "segmentation", found.segmentation, (*of_all, size, size))
    _check_shape(
        name, "deblended_images", found.deblended_images, (*of_all, found.n_bands, size, size)
    )
    _check_extra_data(name, found.extra_data, n_scenes)


def _check_catalog(name: str, catalog: Table, where: str, needed: tuple[str, ...] = ()) -> None:
    """Check positions and probabilities of a catalog."""
    columns = catalog.columns
    for column in (*POSITIONS, *PROBABILITIES):
        if column not in columns:
            if column in needed:
                raise MethodError(
                    f"{name} returned no column {column!r} in {where}: BTK's are 'ra' and 'dec' "
                    f"[arcsec]; got {list(columns)}."
                )
            continue
        values = _numbers(columns[column])
        if values is None or not np.isfinite(values).all():
            raise MethodError(
                f"{name} returned {_odd(columns[column], values)} as {column!r} in {where}: "
                "expected finite numbers. Leave out detections that have none."
            )
        if column in PROBABILITIES:
            _check_within(name, values, f"{column!r} in {where}")


def _check_extra_data(name: str, extra_data: object, n_scenes: int) -> None:
    """Check the probabilities of ``extra_data``; what else it holds is the method's own."""
    if extra_data is None:
        return
    if not isinstance(extra_data, list | tuple) or len(extra_data) != n_scenes:
        got = f"{len(extra_data)}" if isinstance(extra_data, list | tuple) else "no list"
        raise MethodError(
            f"{name} returned extra_data of {got} for a batch of {n_scenes} scenes: expected a "
            "list with a dict for each, or None."
        )
    for scene, extra in enumerate(extra_data):
        if not isinstance(extra, Mapping):
            continue
        where = f"the extra_data of scene {scene} of the batch"
        for key in PROBABILITY_MAPS:
            if key in extra:
                values = _numbers(extra[key])
                if values is None:
                    raise MethodError(
                        f"{name} returned {_odd(extra[key], None)} as {key!r} in {where}: expected "
                        "an array of probabilities."
                    )
                _check_within(name, values, f"{key!r} in {where}")
        if isinstance(extra.get("candidates"), Table):
            _check_catalog(name, extra["candidates"], f"the candidates of {where}")


def _check_within(name: str, values: np.ndarray, what: str) -> None:
    """Check that probabilities are that."""
    if not values.size:
        return
    low, high = values.min(), values.max()  # NaN if any is
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        got = "NaN" if np.isnan(low) else f"{low:g} to {high:g}"
        raise MethodError(
            f"{name} returned {what} of {got}: expected probabilities from 0 to 1, all finite. "
            "Clip what rounding takes beyond, and leave the column out if it is no probability."
        )


def _check_shape(
    name: str, what: str, images: np.ndarray | None, shape: tuple[int | None, ...]
) -> None:
    """Check the shape of images, which a method need not return."""
    if images is not None and np.shape(images) != shape:
        raise MethodError(
            f"{name} returned {what} of shape {np.shape(images)}: expected {shape}, scenes and "
            "max_n_sources first, rows and columns last. Fill up with zeros, or return None."
        )


def _numbers(values: object) -> np.ndarray | None:
    """Return real numbers as an array, masked ones as NaN; None if they are something else."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        return None
    if np.ma.is_masked(values):
        array = np.where(np.ma.getmaskarray(values), np.nan, array)
    return array


def _odd(given: object, values: np.ndarray | None) -> str:
    """Return the first of some values that is not finite, or what they are instead of numbers."""
    if values is None:
        return f"{np.asarray(given).dtype} values"
    return f"{values[~np.isfinite(values)][0]}"


@contextmanager
def _read_only(blend_batch: BlendBatch) -> Iterator[BlendBatch]:
    """Yield the batch for a method: arrays that are read only, and images of its own.

    The images are copied, which takes less time than anything that is done with them, because
    code in C can write into what is marked as read only. Isolated images are many, and are the
    same memory; so are the catalogs, since to copy tables takes longer than some methods do.
    """
    given = copy.copy(blend_batch)
    given.blend_images = np.array(blend_batch.blend_images, order="K")
    given.isolated_images = np.asarray(blend_batch.isolated_images).view()
    given.blend_images.flags.writeable = given.isolated_images.flags.writeable = False
    given.catalog_list = list(blend_batch.catalog_list)
    columns = [dict(catalog.columns) for catalog in blend_batch.catalog_list]
    arrays = [
        column
        for of_catalog in columns
        for column in of_catalog.values()
        if isinstance(column, np.ndarray) and column.flags.writeable
    ]
    for array in arrays:
        array.flags.writeable = False
    try:
        yield given
    finally:
        for array in arrays:
            array.flags.writeable = True
        for scene, of_catalog in enumerate(columns):
            catalog = blend_batch.catalog_list[scene]
            same_names = list(catalog.columns) == list(of_catalog)
            if not same_names or any(catalog.columns[n] is not c for n, c in of_catalog.items()):
                blend_batch.catalog_list[scene] = Table(of_catalog, meta=catalog.meta, copy=False)


def _writable(blend_batch: BlendBatch) -> BlendBatch:
    """Return a copy of the batch that a method may write into."""
    given = copy.copy(blend_batch)
    given.blend_images = np.array(blend_batch.blend_images, order="K")
    given.isolated_images = np.array(blend_batch.isolated_images, order="K")
    given.catalog_list = [catalog.copy() for catalog in blend_batch.catalog_list]
    return given


def _contents(catalogs: Sequence[Table]) -> list[list[tuple[str, bytes]]]:
    """Return what the columns of catalogs hold, to see whether it changes."""
    return [
        [
            (name, column.tobytes() if isinstance(column, np.ndarray) else b"")
            for name, column in catalog.columns.items()
        ]
        for catalog in catalogs
    ]


def _changes(
    given: BlendBatch,
    blend_batch: BlendBatch,
    catalogs: list[list[tuple[str, bytes]]],
    images: tuple[str, ...],
) -> list[str]:
    """Return what a method changed of the batch that it was given.

    Args:
        given: The batch that it was given.
        blend_batch: The batch as it was.
        catalogs: Contents of the catalogs as they were.
        images: Names of the images that it had a copy of.
    """
    changed = [
        name for name in images if not _same(getattr(given, name), getattr(blend_batch, name))
    ]
    return changed if _contents(given.catalog_list) == catalogs else [*changed, "catalog_list"]


def _same(one: np.ndarray, two: np.ndarray) -> bool:
    return np.array_equal(one, two) or one.tobytes() == two.tobytes()  # as where some are NaN


def _changed_batch(name: str, changed: list[str]) -> MethodError:
    return MethodError(
        f"{name} changed {' and '.join(changed)} of the batch that it was given, which other "
        "methods get too. Have it work on a copy, as in "
        "image = blend_batch.blend_images[ii].copy()."
    )
