"""Detectors of a few lines, whose answers to hand-made scenes are known beforehand."""

import numpy as np
from astropy.table import Table
from btk.blend_batch import DeblendExample
from btk.deblend import Deblender
from scipy import ndimage

from btk_punet.deblending.base import sky_arcsec
from tests.evaluation.conftest import blend_batch, gaussian, source_table

# Peaks of round Gaussians of 1.5 pixels: 212 and 45 electrons.
BRIGHT, FAINT = 3000.0, 636.0
THRESHOLD = 60.0


def example(batch, x, y):
    """Return detections at these pixels, in a catalog as BTK's deblenders give it."""
    ra, dec = sky_arcsec(batch.wcs, np.asarray(x, float), np.asarray(y, float))
    return DeblendExample(50, Table({"ra": ra, "dec": dec}))


class Peaks(Deblender):
    """Detects local maxima between two levels, in threes if they are high enough."""

    def __init__(self, threshold=THRESHOLD, split_above=np.inf, saturated_above=np.inf):
        super().__init__(50)
        self.threshold = threshold
        self.split_above = split_above
        self.saturated_above = saturated_above

    def deblend(self, ii, blend_batch):
        image = blend_batch.blend_images[ii, 0]
        summits = (image == ndimage.maximum_filter(image, 3)) & (image > self.threshold)
        y, x = np.nonzero(summits & (image < self.saturated_above))
        split = image[y, x] > self.split_above
        return example(blend_batch, [*x, *x[split] - 1, *x[split] + 1], [*y, *y[split], *y[split]])


class Perfect(Deblender):
    """Knows the truth."""

    def __init__(self):
        super().__init__(50)

    def deblend(self, ii, blend_batch):
        catalog = blend_batch.catalog_list[ii]
        return example(blend_batch, catalog["x_peak"], catalog["y_peak"])


class Hopeless(Deblender):
    """Finds nothing."""

    def __init__(self):
        super().__init__(50)

    def deblend(self, ii, blend_batch):
        return example(blend_batch, [], [])


class Watching(Perfect):
    """Keeps the batches that it is given."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def batch_call(self, blend_batch, njobs=1, **kwargs):
        self.batches.append(blend_batch)
        return super().batch_call(blend_batch, njobs, **kwargs)


class FailsAlone(Perfect):
    """Cannot do images of a single source."""

    def deblend(self, ii, blend_batch):
        if len(blend_batch.catalog_list[ii]) == 1:
            raise ValueError("nothing to deblend")
        return super().deblend(ii, blend_batch)


class OneCatalogShort(Perfect):
    """Loses an image."""

    def batch_call(self, blend_batch, njobs=1, **kwargs):
        output = super().batch_call(blend_batch, njobs, **kwargs)
        output.catalog_list.pop()
        return output


class NoBatch(Perfect):
    """Returns something else."""

    def batch_call(self, blend_batch, njobs=1, **kwargs):
        return super().batch_call(blend_batch, njobs, **kwargs).catalog_list


def gaussian_scenes(scenes):
    """Return a batch, without noise, of round Gaussians from lists of (x, y, flux)."""
    return blend_batch(
        [
            source_table(
                [x for x, _, _ in scene],
                [y for _, y, _ in scene],
                [30.0 - 2.5 * np.log10(flux) for _, _, flux in scene],
            )
            for scene in scenes
        ],
        [[gaussian(x, y, flux, 1.5) for x, y, flux in scene] for scene in scenes],
    )


# What `Peaks` makes of these, all in one region each:
APART = [(20, 20, BRIGHT), (26, 20, BRIGHT)]  # a peak each, alone and together
CLOSE = [(20, 20, BRIGHT), (22, 20, BRIGHT)]  # one peak together, of 339 electrons
FAINT_CLOSE = [(20, 20, FAINT), (22, 20, FAINT)]  # one peak of 72 together, none alone
FAINT_ASIDE = [(20, 20, BRIGHT), (25, 20, FAINT)]  # one peak, alone and together
THREE = [(20, 20, BRIGHT), (26, 20, BRIGHT), (32, 20, BRIGHT)]  # three peaks
