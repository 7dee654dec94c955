import numpy as np
import pytest

from btk_punet.errors import InputError
from btk_punet.evaluation.scoring.maps import (
    MapScores,
    centre_map,
    scene_class_map,
    source_footprints,
)
from btk_punet.evaluation.scoring.scenes import scene_truth
from btk_punet.evaluation.statistics.pixels import CLASS_NAMES
from btk_punet.simulation.labels import class_map
from btk_punet.simulation.snr import NEIGHBOUR_SNR
from tests.evaluation.conftest import (
    BACKGROUND,
    SIZE,
    blend_batch,
    bright_scenes,
    flux_per_pixel_of_snr,
    gaussian,
    source_table,
    square,
)


def true_maps(batch):
    """Return classes and centres as their definitions have them, scene by scene."""
    classes, centres = [], []
    for scene, catalog in enumerate(batch.catalog_list):
        isolated = batch.isolated_images[scene][: len(catalog), 0]
        classes.append(class_map(isolated, np.sqrt(BACKGROUND)))
        centre = np.zeros((SIZE, SIZE))
        for x, y in zip(catalog["x_peak"], catalog["y_peak"], strict=True):
            centre[round(y), round(x)] = 1
        centres.append(centre)
    return np.array(classes), np.array(centres)


def sure_samples(classes, centres, n_samples=2, p=1.0):
    """Return samples that all give the classes, and the centres, the probability p."""
    by_class = np.where(np.arange(3) == classes[..., None], p, (1 - p) / 2)
    by_centre = np.where(centres == 1, p, 1 - p)
    return {
        "class": np.stack([by_class] * n_samples).astype("float32"),
        "centre": np.stack([by_centre] * n_samples).astype("float32"),
    }


def scores(batch, samples):
    result = MapScores()
    result.add(batch, samples)
    return result


def test_nothing():
    empty = MapScores()
    figures = empty.summary()
    assert figures.pop("variance_blended_n_sources") == 0
    assert figures.pop("variance_isolated_n_sources") == 0
    assert np.isnan(list(figures.values())).all()
    assert list(empty.reliability_tables()) == [*CLASS_NAMES, "centre"]
    assert "ratio" in str(empty)


def test_scene_without_sources():
    batch = blend_batch([source_table([], [])], [[]])
    blank = np.zeros((1, SIZE, SIZE))
    result = scores(batch, sure_samples(blank, blank))
    assert result.classes.report().loc["background", "support"] == SIZE**2
    assert result.centres.base_rate == 0


def test_perfect_maps():
    batch = bright_scenes([[(20, 20), (23, 22)], [(40, 40)]])
    result = scores(batch, sure_samples(*true_maps(batch)))
    # Squares of 5 x 5 pixels, two of which share 2 x 3.
    assert list(result.classes.report()["support"]) == [2 * SIZE**2 - 69, 2 * 19 + 25, 6]
    figures = result.summary()
    for name in ("mean_iou", "mean_iou_one_sample", *(f"iou_{name}" for name in CLASS_NAMES)):
        assert figures[name] == 1
    for name in ("class_log_loss", "centre_log_loss", "calibration_error_mean"):
        assert figures[name] == pytest.approx(0, abs=1e-6)
    assert result.centres.base_rate == pytest.approx(3 / (2 * SIZE**2))
    assert result.n_scenes == 2
    assert np.isnan(figures["variance_ratio"])


def test_unsure_maps():
    batch = bright_scenes([[(20, 20)]])
    figures = scores(batch, sure_samples(*true_maps(batch), p=0.7)).summary()
    assert figures["class_log_loss"] == pytest.approx(-np.log(0.7))
    assert figures["centre_log_loss"] == pytest.approx(-np.log(0.7))
    assert figures["class_log_loss_gain"] == pytest.approx(0, abs=1e-6)
    # Every pixel counts: p(background) is 0.7 at most. Those said to be background are.
    sky, lit = 1 - 25 / SIZE**2, 25 / SIZE**2
    assert figures["calibration_error_background"] == pytest.approx(0.3 * sky + 0.15 * lit)


def test_samples_that_differ_and_their_mean():
    """Two samples: one is right, the other says nothing. The mean is between them."""
    batch = bright_scenes([[(20, 20)]])
    classes, centres = true_maps(batch)
    right, blank = sure_samples(classes, centres, 1, 0.9), sure_samples(classes, centres, 1, 1 / 3)
    samples = {name: np.concatenate([right[name], blank[name]]) for name in right}
    figures = scores(batch, samples).summary()
    assert figures["class_log_loss"] == pytest.approx(-np.log((0.9 + 1 / 3) / 2))
    assert figures["class_log_loss_one_sample"] == pytest.approx(-np.log(0.9 / 3) / 2)
    gain = figures["class_log_loss_one_sample"] - figures["class_log_loss"]
    assert figures["class_log_loss_gain"] == pytest.approx(gain)
    assert figures["centre_log_loss"] == pytest.approx(-np.log((0.9 + 1 / 3) / 2))
    assert figures["centre_log_loss_gain"] > 0.1


def test_spread_in_a_footprint():
    """A bright source alone, of whose 25 pixels one sample of four takes the middle for a blend."""
    batch = bright_scenes([[(20, 20)]])
    samples = sure_samples(*true_maps(batch), n_samples=4)
    samples["class"][0, 0, 20, 20] = [0, 0, 1]
    result = scores(batch, samples)
    variance = 0.25 * 0.75  # of 2, 1, 1, 1
    figures = result.summary()
    assert figures["variance_isolated"] == pytest.approx(variance / 25)
    assert figures["variance_isolated_n_sources"] == 1
    assert figures["variance_blended_n_sources"] == 0


def test_batches_add_up():
    positions = [[(20, 20), (23, 22)], [(40, 40)], []]
    rng = np.random.default_rng(1)
    by_class = rng.dirichlet([1, 1, 1], (3, 3, SIZE, SIZE))
    samples = {"class": by_class, "centre": rng.uniform(0, 1, (3, 3, SIZE, SIZE))}
    whole = scores(bright_scenes(positions), samples).summary()
    parts = MapScores()
    for scene, of_scene in enumerate(positions):
        one = {name: maps[:, scene : scene + 1] for name, maps in samples.items()}
        parts.add(bright_scenes([of_scene]), one)
    assert parts.summary() == pytest.approx(whole, rel=1e-9, nan_ok=True)


def test_footprints_add_up_to_the_class_map():
    x, y = [20.3, 24.0, 2.0, 40.0], [20.0, 22.6, 1.0, 40.0]
    isolated = [
        gaussian(*xy, flux, 2.0) for *xy, flux in zip(x, y, [4e3, 3e3, 2e3, 10], strict=True)
    ]
    batch = blend_batch([source_table(x, y)], [isolated])
    covered = source_footprints(batch, 0, 0)
    assert covered.shape == (4, SIZE, SIZE) and not covered[3].any()
    expected = class_map(np.array(isolated), np.sqrt(BACKGROUND))
    assert expected.max() == 2
    np.testing.assert_array_equal(np.minimum(covered.sum(axis=0), 2), expected)
    np.testing.assert_array_equal(scene_class_map(batch, 0), expected)
    assert not scene_class_map(batch, 0, k=1e6).any()


def test_footprint_of_a_real_galaxy_is_the_part_that_holds_its_centre():
    catalog = source_table([20], [20])
    catalog["GAL_FILENAME"] = ["real.fits"]
    image = square(20, 20, 100.0) + square(50, 50, 100.0)
    batch = blend_batch([catalog], [[image]])
    np.testing.assert_array_equal(source_footprints(batch, 0, 0)[0], square(20, 20, 1.0) > 0)
    np.testing.assert_array_equal(scene_class_map(batch, 0), square(20, 20, 1.0))


def test_centres_are_those_that_training_marks():
    # Bright; just too faint; bright, but centred outside; in the corner.
    x, y = [20.4, 40, -0.6, 63.4], [30.6, 40, 30, 0]
    flux = [flux_per_pixel_of_snr(snr) for snr in (50, NEIGHBOUR_SNR - 0.1)] + [1e3, 1e3]
    places = [(20, 31), (40, 40), (0, 30), (63, 0)]
    isolated = [square(*xy, f) for xy, f in zip(places, flux, strict=True)]
    truth = scene_truth(blend_batch([source_table(x, y)], [isolated]), 0)
    assert np.argwhere(centre_map(truth, SIZE)).tolist() == [[0, 63], [31, 20]]


def test_maps_that_do_not_fit():
    batch = bright_scenes([[(20, 20)]])
    blank = np.zeros((1, SIZE, SIZE))
    good = sure_samples(blank, blank)
    for wrong in (
        {"class": good["class"][:, 0]},
        {"centre": good["centre"][:1]},
        {name: maps[:0] for name, maps in good.items()},
        {name: maps[:, :, 1:] for name, maps in good.items()},
    ):
        with pytest.raises(InputError, match="maps of 1 scenes of 64 x 64 pixels, got class"):
            scores(batch, good | wrong)


def test_report_is_readable():
    batch = bright_scenes([[(20, 20), (23, 22)]])
    text = str(scores(batch, sure_samples(*true_maps(batch), p=0.7)))
    lines = text.splitlines()
    assert lines[0].split() == ["precision", "recall", "F1", "IoU", "support"]
    assert lines[3].split() == ["blended", *["1.0000"] * 4, "6"]
    assert "Confusion matrix" in text and "Expected calibration error" in text
    assert max(map(len, lines)) <= 100


def test_class_map_of_a_scene():
    # A pair that shares 3 x 5 pixels and one that shares a single one, of 5 x 5 pixels each.
    batch = bright_scenes([[(20, 20), (22, 20), (40, 40), (44, 44), (10, 50)], []])
    maps = [scene_class_map(batch, scene) for scene in range(2)]
    assert [[(classes == number).sum() for number in (1, 2)] for classes in maps] == [
        [93, 16],
        [0, 0],
    ]
    assert not scene_class_map(batch, 0, k=1e6).any()


def test_noise_of_real_galaxies_belongs_to_nobody():
    table = source_table([20.0], [20.0])
    image = np.zeros((1, SIZE, SIZE))
    image[0, 18:23, 18:23] = 100.0
    image[0, 50, 50] = 100.0
    batch = blend_batch([table], [image])
    assert (scene_class_map(batch, 0) == 1).sum() == 26
    table["GAL_FILENAME"] = "galaxy.fits"
    real = blend_batch([table], [image])
    assert (scene_class_map(real, 0) == 1).sum() == 25
