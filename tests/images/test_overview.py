"""Pictures of what was found: what they show, in numbers; that they look well is for eyes."""

import dataclasses

import matplotlib.figure
import numpy as np
import pytest

from btk_punet.images import overview
from btk_punet.images.marks import GRADES, grades, is_flagged, radii
from btk_punet.images.overview import (
    OverviewDisplay,
    backdrop,
    compass,
    crowded_boxes,
    write_overview,
)
from tests.images.hand_made import SHAPE, X, Y, detections, sky_image, without_wcs, world

matplotlib.use("Agg")
WHOLE = slice(0, SHAPE[0]), slice(0, SHAPE[1])


@pytest.fixture
def axes():
    figure = matplotlib.figure.Figure()
    return figure.add_subplot()


class TestMarks:
    def test_of_nothing(self):
        catalog = detections(0).catalog
        assert len(grades(catalog["p_detect"])) == len(is_flagged(catalog)) == len(radii(catalog))

    def test_grades(self):
        np.testing.assert_array_equal(grades([1, 0.9, 0.89, 0.7, 0.69, 0]), [0, 0, 1, 1, 2, 2])

    def test_flags_of_the_whole_image_are_none_of_a_source(self):
        np.testing.assert_array_equal(is_flagged(detections().catalog), [False, True, False, True])


class TestBackdrop:
    @pytest.mark.parametrize("n", [0, 4])
    def test_without_the_image_is_the_probability_of_a_source(self, n):
        found = detections(n)
        behind = backdrop(found, WHOLE)
        np.testing.assert_allclose(behind.values, np.where(found.labels > 0, 0.9, 0.1), rtol=1e-6)
        assert not behind.unusable.any()
        assert behind.extent == (-0.5, 199.5, -0.5, 159.5)

    def test_noise_is_1_in_blocks_of_any_size(self):
        found = detections(0, image=sky_image())
        for factor in (1, 4, 7):
            snr = 3 * np.sinh(backdrop(found, WHOLE, factor).values)
            snr = snr[abs(snr) < 8]  # without the bright pixels
            assert snr.std() == pytest.approx(1, abs=0.15)

    def test_blocks_of_a_box_are_means_by_hand(self):
        image = sky_image(bad=np.s_[10:14, 20:26])
        box = slice(8, 19), slice(16, 30)
        behind = backdrop(detections(image=image), box, 4)
        tile = image.tile(*box)
        snr = tile.electrons / np.sqrt(tile.variance)
        assert behind.values.shape == (3, 4)
        # Rows 8 to 11 and columns 24 to 27: 4 of 16 pixels cannot be used.
        block = snr[:4, 8:12][tile.usable[:4, 8:12]]
        assert len(block) == 12
        assert behind.values[0, 2] == pytest.approx(np.arcsinh(block.sum() / np.sqrt(12) / 3))
        # The last row of blocks has three rows of pixels.
        last = snr[8:11, :4]
        assert behind.values[2, 0] == pytest.approx(np.arcsinh(last.sum() / np.sqrt(12) / 3))
        # Of the blocks at columns 20 to 23 half cannot be used: that is not most.
        np.testing.assert_array_equal(behind.unusable, np.zeros((3, 4), bool))
        assert behind.extent == (15.5, 31.5, 7.5, 19.5)

    def test_does_not_hang_on_the_pieces(self, monkeypatch):
        found = detections(image=sky_image(bad=np.s_[40:60, 30:90]))
        whole = backdrop(found, WHOLE, 3)
        monkeypatch.setattr(overview, "_PIECE", 50)
        pieces = backdrop(found, WHOLE, 3)
        np.testing.assert_allclose(pieces.values, whole.values, atol=1e-6)
        np.testing.assert_array_equal(pieces.unusable, whole.unusable)
        assert whole.unusable.any() and not whole.unusable.all()


class TestDisplay:
    def test_of_nothing(self, axes):
        display = detections(0).plot(axes)
        assert display.ax_ is axes and display.figure_ is axes.figure
        assert axes.get_xlim() == (-0.5, 199.5) and axes.get_ylim() == (-0.5, 159.5)

    def test_makes_axes_of_its_own(self):
        import matplotlib.pyplot as plt

        display = detections().plot()
        assert display.ax_.get_xlabel() == "x [pixel]"
        plt.close(display.figure_)

    def test_every_source_has_a_mark_at_its_place(self, axes):
        detections(image=sky_image()).plot(axes)
        paths = [path for marks in axes.collections for path in marks.get_paths()]
        middles = [path.get_extents().get_points().mean(axis=0) for path in paths]
        np.testing.assert_allclose(sorted(map(tuple, middles)), sorted(zip(X, Y, strict=True)))

    def test_outlines_are_the_edges_of_labels(self, axes):
        found = detections(1)
        OverviewDisplay(found, outlines=True).plot(axes)
        edges = np.concatenate([lines.get_segments() for lines in axes.collections])
        assert len(edges) == 20  # of a square of 5 pixels around (50, 40)
        assert (edges.min(axis=(0, 1)) == [47.5, 37.5]).all()
        assert (edges.max(axis=(0, 1)) == [52.5, 42.5]).all()
        assert (abs(np.diff(edges, axis=1)).sum(axis=(1, 2)) == 1).all()

    def test_outlines_of_a_region_lie_where_those_of_the_image_do(self, axes):
        found = detections(1, region=(slice(30, 60), slice(40, 90)))
        OverviewDisplay(found, (slice(35, 45), slice(45, 60)), outlines=True).plot(axes)
        edges = np.concatenate([lines.get_segments() for lines in axes.collections])
        assert (edges.min(axis=(0, 1)) == [47.5, 37.5]).all()


class TestCrowdedBoxes:
    def test_of_nothing(self):
        assert crowded_boxes(detections(0)) == []

    def test_small_regions_have_none(self):
        assert crowded_boxes(detections()) == []

    def test_fullest_first_and_apart(self):
        rng = np.random.default_rng(0)
        found = detections()
        x = np.concatenate([rng.uniform(300, 420, 30), rng.uniform(700, 800, 20), [10, 990, 500]])
        y = np.concatenate([rng.uniform(500, 620, 30), rng.uniform(100, 200, 20), [10, 20, 900]])
        catalog = type(found.catalog)({"x_peak": x, "y_peak": y})
        region = slice(0, 1000), slice(0, 1000)
        boxes = crowded_boxes(dataclasses.replace(found, catalog=catalog, region=region))
        assert len(boxes) == 3
        inside = [
            int(((y >= r.start) & (y < r.stop) & (x >= c.start) & (x < c.stop)).sum())
            for r, c in boxes
        ]
        assert inside == sorted(inside, reverse=True) and inside[0] > 15
        for i, (rows, columns) in enumerate(boxes):
            assert 0 <= rows.start and rows.stop <= 1000 and columns.stop <= 1000
            for other_rows, other_columns in boxes[:i]:
                apart = abs(rows.start - other_rows.start), abs(columns.start - other_columns.start)
                assert max(apart) >= 128


class TestCompass:
    @pytest.mark.parametrize("angle", [0.0, 30.0, 200.0])
    def test_turned_images(self, angle):
        north, east = compass(world(angle_deg=angle), 100, 80)
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        np.testing.assert_allclose(north, [-s, c], atol=1e-5)
        np.testing.assert_allclose(east, [-c, -s], atol=1e-5)


@pytest.mark.parametrize("shape", [(160, 200), (1, 200), (160, 3)])
def test_picture_of_any_shape(tmp_path, shape):
    region = slice(0, shape[0]), slice(0, shape[1])
    for found in (detections(0, image=sky_image(), region=region), without_wcs()):
        write_overview(found, tmp_path / "o.png")
        assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")


def test_colours_of_the_picture_are_those_of_the_marks(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    write_overview(detections(image=sky_image(bad=np.s_[40:60, 30:90])), tmp_path / "o.png")
    with image_module.open(tmp_path / "o.png") as picture:
        assert picture.mode == "P"
        colours = {colour for _, colour in picture.convert("RGB").getcolors(256)}
    assert {(255, 255, 255), (0, 0, 0)} <= colours
    for grade in GRADES:
        mark = 255 * np.array(matplotlib.colors.to_rgb(grade.colour))
        assert min(abs(mark - colour).max() for colour in colours) <= 1, grade
