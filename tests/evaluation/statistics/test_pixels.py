import numpy as np
import pandas as pd
import pytest

from btk_punet.errors import InputError
from btk_punet.evaluation.statistics.pixels import PixelScores
from btk_punet.evaluation.statistics.reliability import LEAST_PROBABILITY
from btk_punet.simulation.labels import CLASS_NAMES

# A scene of 2 x 4 pixels.
#
#   true        0 0 0 1     predicted   0 0 1 1
#               1 1 2 2                 1 2 2 0
TRUE = np.array([[[0, 0, 0, 1], [1, 1, 2, 2]]])
PREDICTED = np.array([[[0, 0, 1, 1], [1, 2, 2, 0]]])


def sure(predicted, p=0.8):
    """Return maps that give the predicted class the probability p, and the others the same."""
    rest = (1 - p) / 2
    return np.where(np.arange(3) == predicted[..., None], p, rest)


def scores(probability, classes, usable=None):
    result = PixelScores()
    result.add(probability, classes, usable)
    return result


def random_maps(rng, n_scenes):
    logits = rng.normal(0, 2, (n_scenes, 6, 5, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return p, rng.integers(0, 3, p.shape[:3])


def test_nothing():
    empty = scores(np.zeros((0, 4, 4, 3)), np.zeros((0, 4, 4)))
    assert empty.n_pixels == 0
    assert (empty.confusion_matrix() == 0).all().all()
    report = empty.report()
    assert list(report.index) == list(CLASS_NAMES)
    assert list(report["support"]) == [0, 0, 0]
    assert report[["precision", "recall", "f1", "iou"]].isna().all().all()
    assert np.isnan([empty.log_loss(), *empty.calibration_errors().values()]).all()


def test_counted_by_hand():
    result = scores(sure(PREDICTED), TRUE)
    matrix = result.confusion_matrix()
    assert matrix.index.name == "true" and matrix.columns.name == "predicted"
    assert matrix.to_numpy().tolist() == [[2, 1, 0], [0, 2, 1], [1, 0, 1]]
    assert matrix.loc["background", "isolated"] == 1
    expected = pd.DataFrame(
        {
            "precision": [2 / 3, 2 / 3, 1 / 2],
            "recall": [2 / 3, 2 / 3, 1 / 2],
            "f1": [2 / 3, 2 / 3, 1 / 2],
            "iou": [2 / 4, 2 / 4, 1 / 3],
            "support": [3, 3, 2],
        },
        index=pd.Index(["background", "isolated", "blended"], name="class"),
    )
    pd.testing.assert_frame_equal(result.report(), expected)
    # Five pixels right with 0.8, three wrong with 0.1.
    assert result.log_loss() == pytest.approx(-(5 * np.log(0.8) + 3 * np.log(0.1)) / 8)


def test_precision_is_not_recall():
    report = scores(sure(np.array([[[1, 1, 1, 0]]])), np.array([[[1, 0, 0, 0]]])).report()
    assert report.loc["isolated", "precision"] == pytest.approx(1 / 3)
    assert report.loc["isolated", "recall"] == 1
    assert report.loc["isolated", "f1"] == pytest.approx(1 / 2)
    assert report.loc["isolated", "iou"] == pytest.approx(1 / 3)
    assert report.loc["background", "recall"] == pytest.approx(1 / 3)
    assert report.loc["blended"].drop("support").isna().all()


def test_pixels_that_are_not_usable_do_not_count():
    usable = PREDICTED == TRUE
    maps, classes = sure(PREDICTED), np.where(usable, TRUE, 99)
    maps[~usable] = np.nan
    result = scores(maps, classes, usable)
    assert result.n_pixels == 5
    assert (result.report()["iou"] == 1).all()


def test_calibration_leaves_out_empty_sky():
    # Sure of the sky in two pixels, one wrongly; in two others not.
    p = np.array([[0.95, 0.05, 0.0], [0.95, 0.05, 0.0], [0.1, 0.3, 0.6], [0.1, 0.3, 0.6]])
    result = scores(p[None, None], np.array([[[0, 1, 1, 2]]]))
    assert [reliability.n for reliability in result.reliability.values()] == [2, 2, 2]
    errors = result.calibration_errors()
    assert list(errors) == [*CLASS_NAMES, "mean"]
    np.testing.assert_allclose(list(errors.values()), [0.1, 0.2, 0.1, 0.4 / 3])


def test_boundary_of_empty_sky_is_outside():
    p = np.array([[0.9, 0.1, 0.0], [np.nextafter(0.9, 0), 0.1, 0.0]])
    result = scores(p[None, None], np.zeros((1, 1, 2), int))
    assert result.reliability["background"].n == 1


def test_of_as_probable_classes_the_first_is_predicted():
    matrix = scores(np.full((1, 1, 1, 3), 1 / 3), np.full((1, 1, 1), 2)).confusion_matrix()
    assert matrix.loc["blended", "background"] == 1


def test_impossible_truth_costs_a_finite_loss():
    result = scores(sure(np.zeros((1, 1, 1), int), p=1.0), np.ones((1, 1, 1), int))
    assert result.log_loss() == pytest.approx(-np.log(LEAST_PROBABILITY))


def test_merged_parts_are_the_whole():
    p, classes = random_maps(np.random.default_rng(3), 5)
    whole = scores(p, classes)
    merged = scores(p[:2], classes[:2]) + scores(p[2:], classes[2:])
    pd.testing.assert_frame_equal(merged.confusion_matrix(), whole.confusion_matrix())
    assert merged.log_loss() == pytest.approx(whole.log_loss(), rel=1e-12)
    assert merged.calibration_errors() == pytest.approx(whole.calibration_errors(), rel=1e-9)
    with pytest.raises(TypeError):
        merged + 1


def test_mean_map_never_loses_to_one_sample():
    """The negative logarithm is convex, so this holds for any samples."""
    rng = np.random.default_rng(4)
    samples = np.stack([random_maps(rng, 2)[0] for _ in range(8)])
    classes = rng.integers(0, 3, samples.shape[1:4])
    one = sum((scores(sample, classes) for sample in samples), PixelScores())
    assert scores(samples.mean(axis=0), classes).log_loss() < one.log_loss()


@pytest.mark.parametrize(
    ("shape", "classes", "usable", "message"),
    [
        ((2, 2, 3), np.zeros((2, 2)), None, r"shape \(b, H, W, 3\), got \(2, 2, 3\)"),
        ((1, 3, 2, 2), np.zeros((1, 2, 2)), None, r"np.moveaxis\(maps, 1, -1\)"),
        ((1, 2, 2, 3), np.zeros((1, 2, 3)), None, r"classes must have the shape \(1, 2, 2\)"),
        ((1, 2, 2, 3), np.zeros((1, 2, 2)), np.ones(2, bool), "usable must have the shape"),
        ((1, 2, 2, 3), np.full((1, 2, 2), 3), None, r"0 \(background\).*got \[.*3"),
    ],
)
def test_what_cannot_be_added(shape, classes, usable, message):
    with pytest.raises(InputError, match=message):
        scores(np.full(shape, 1 / 3), classes, usable)


@pytest.mark.parametrize("p", [[0.5, 0.4, 0.4], [1.2, -0.1, -0.1], [np.nan, 0.5, 0.5]])
def test_what_is_no_probability(p):
    with pytest.raises(InputError, match="that add up to 1 in every usable pixel"):
        scores(np.reshape(p, (1, 1, 1, 3)), np.zeros((1, 1, 1), int))
