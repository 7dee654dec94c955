"""What detectors hand back that say things with a probability, right or wrong as they are told."""

import numpy as np
from btk.blend_batch import DeblendBatch

from btk_punet.evaluation.scoring.maps import scene_class_map
from tests.evaluation.conftest import detection_table

# Squares of 5 x 5 pixels: a pair that shares 3 x 5 pixels, and one on its own. So there are 15
# blended pixels and 20 + 25 isolated ones.
PAIR_AND_ONE = [(20, 20), (22, 20), (45, 45)]
N_BLENDED, N_ISOLATED = 15, 45
# What the true class is taken for: background is always right.
RIGHT, SWAPPED = (0, 1, 2), (0, 2, 1)


def maps(batch, said=RIGHT, sure=1.0, variance_of_wrong=None):
    """Return the extra_data of detectors of classes.

    Args:
        batch: The scenes.
        said: The class that is said of pixels of the true class 0, 1, 2.
        sure: Its probability, the rest goes to the other one of 1 and 2; background is said for
            sure.
        variance_of_wrong: ``class_variance`` of wrong pixels, and 1 less it of right ones; none if
            None.
    """
    extra_data = []
    for scene in range(batch.batch_size):
        true = scene_class_map(batch, scene)
        predicted = np.asarray(said)[true]
        probability = np.zeros((3, *true.shape), np.float32)
        other = np.asarray([1, 2, 1])[predicted]
        of_predicted = np.where(predicted == 0, 1.0, sure)
        np.put_along_axis(probability, other[None], 1 - of_predicted[None], axis=0)
        np.put_along_axis(probability, predicted[None], of_predicted[None], axis=0)
        extra = {"class_probability": probability}
        if variance_of_wrong is not None:
            wrong = predicted != true
            extra["class_variance"] = np.where(wrong, variance_of_wrong, 1 - variance_of_wrong)
        extra_data.append(extra)
    return extra_data


def saying(batch, scenes=None, extra_data=None, **columns):
    """Return detections at these (x, y) of each scene, with columns, and extra_data.

    Args:
        batch: The scenes.
        scenes: Places in each scene; nothing found if None.
        extra_data: What else is said of each scene.
        **columns: A value for each place, in the order of all scenes.
    """
    scenes = [[]] * batch.batch_size if scenes is None else scenes
    last = np.cumsum([len(places) for places in scenes])
    tables = []
    for places, stop in zip(scenes, last, strict=True):
        own = {name: np.asarray(v, float)[stop - len(places) : stop] for name, v in columns.items()}
        x, y = np.reshape(places, (-1, 2)).T
        tables.append(detection_table(batch, x, y, **own))
    return DeblendBatch(
        batch.batch_size, 50, tables, n_bands=1, image_size=batch.image_size, extra_data=extra_data
    )
