"""Injected sources: which of them are found, with detectors whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from btk.blend_batch import DeblendExample
from btk.deblend import Deblender
from matplotlib.figure import Figure

from btk_punet import (
    EuclidCatalog,
    EuclidGenerator,
    EuclidGroupSampling,
    SepDeblender,
    get_euclid_survey,
    image_batch,
)
from btk_punet.errors import InputError, InputTypeError
from btk_punet.evaluation.report.latex import latex_table
from btk_punet.evaluation.scoring.counting import completeness_table, efficiency_table
from btk_punet.evaluation.scoring.rules import Rules
from btk_punet.evaluation.studies.selection.function import (
    SelectionDisplay,
    selection_study_tables,
    selection_tables,
)
from btk_punet.evaluation.studies.selection.injection import (
    batch_selection,
    inject,
    selection_table,
)
from tests.evaluation.conftest import (
    blend_batch,
    bright_scenes,
    detection_table,
    source_table,
)


class Brightest(Deblender):
    """Finds the brightest pixel of each image, and nothing else."""

    def deblend(self, ii, blend_batch):
        image = blend_batch.blend_images[ii, 0]
        y, x = np.unravel_index(image.argmax(), image.shape)
        table = Table({"x_peak": [float(x)], "y_peak": [float(y)], "ra": [0.0], "dec": [0.0]})
        return DeblendExample(self.max_n_sources, table)


def generator(number=1, noise="galaxy", least=1, seed=11, **limits):
    return EuclidGenerator(
        EuclidCatalog.simulate(2000, 5),
        EuclidGroupSampling(max_number=number, min_number=least, max_radius=2.5, **limits),
        get_euclid_survey(1, 0.0),
        batch_size=6,
        add_noise=noise,
        seed=seed,
    )


@pytest.fixture(scope="module")
def images():
    """Six images of faint galaxies alone."""
    return generator(noise="all", seed=12, min_mag=25.0).draw_batch(0)


def test_no_images():
    assert selection_table(Brightest(1), [], generator(), progress=False).empty


def test_no_sources_to_inject(images):
    none = generator(number=0, least=0)
    assert len(selection_table(Brightest(1), [images], none, progress=False)) == 0


def test_images_add_up(images):
    sources = generator().draw_batch(0)
    both = inject(images, sources)
    np.testing.assert_array_equal(both.blend_images, images.blend_images + sources.blend_images)
    assert both.catalog_list[0] is sources.catalog_list[0]


def test_a_bright_source_is_found_by_who_sees_the_brightest(images):
    table = selection_table(Brightest(1), [images, images], generator(max_mag=21.0), progress=False)
    assert table["scene"].tolist() == list(range(12))
    # (In a large one, noise decides which pixel is the brightest.)
    compact = table["size_arcsec"] < 0.8
    assert compact.sum() > 5 and table["matched"][compact].all()
    assert table["p_detect"].isna().all()


def test_a_faint_source_in_a_bright_image_is_not(images):
    bright = generator(noise="all", seed=12, max_mag=20.0).draw_batch(0)
    table = selection_table(Brightest(1), [bright], generator(min_mag=25.0), progress=False)
    far = table["neighbour_distance_arcsec"] > 0.4
    assert far.any() and not table["matched"][far].any()


def test_sep_finds_the_bright_ones_more_often():
    batches = [generator(noise="all", seed=12, min_mag=24.0).draw_batch(n) for n in range(6)]
    table = selection_table(SepDeblender(20), batches, generator(max_mag=26.0), progress=False)
    bright, faint = completeness_table(table, "magnitude", [19.0, 24.0, 27.0])["value"]
    assert bright > 0.8
    assert faint < bright
    cells = efficiency_table(table, [19.0, 27.0], [0.0, 0.3, np.inf])
    assert cells["n"].sum() == table["counts"].sum()


class OneStepOut(Deblender):
    """Finds each source 1.5 pixels nearer to the left border, if that is still on the image."""

    def deblend(self, ii, blend_batch):
        catalog = blend_batch.catalog_list[ii]
        x = np.asarray(catalog["x_peak"], float) - 1.5
        there = x >= 0
        found = detection_table(blend_batch, x[there], np.asarray(catalog["y_peak"])[there])
        return DeblendExample(self.max_n_sources, found)


def test_sources_near_the_border_do_not_count():
    # A place where a detection would be matched may lie outside of the image, where none is ever
    # made. The image is 64 pixels wide, and the matching radius is 3 pixels.
    x = [1.0, 2.0, 4.9, 5.0, 58.0, 58.1, 61.0]
    sources = bright_scenes([[(round(of), 30)] for of in x])
    sources.catalog_list = [source_table([of], [30.0]) for of in x]
    empty = blend_batch([source_table([], [])] * len(x), [[]] * len(x))
    table = batch_selection(OneStepOut(1), empty, sources)
    assert table["in_bounds"].tolist() == [False, *[True] * 6]
    assert table["matched"].tolist() == [False, *[True] * 6]
    assert table["counts"].tolist() == [False, False, False, True, True, False, False]
    wide = batch_selection(OneStepOut(1), empty, sources, radius_arcsec=0.5)
    assert not wide["counts"].any()
    with pytest.raises(InputError, match="3.0 arcsec leaves no place .* expected at most 2.95 arc"):
        batch_selection(OneStepOut(1), empty, sources, radius_arcsec=3.0)


def test_what_cannot_be_injected(images):
    with pytest.raises(InputError, match="add_noise=\"galaxy\", got 'all'"):
        selection_table(Brightest(1), [images], generator(noise="all"), progress=False)
    with pytest.raises(InputError, match="one source at most.*max_number=1"):
        selection_table(Brightest(1), [images], generator(3, least=2), progress=False)
    with pytest.raises(InputTypeError, match="SceneGenerator"):
        selection_table(Brightest(1), [images], images, progress=False)
    with pytest.raises(InputTypeError, match="deblender"):
        selection_table("sep", [images], generator(), progress=False)
    with pytest.raises(InputError, match=r"shape \(6, 1, 64, 64\), got .*\(3, 1, 64, 64\)"):
        inject(images, generator().draw_batch(0, 3))


class TestTables:
    def table(self):
        columns = ["magnitude", "size_arcsec", "neighbour_distance_arcsec", "counts", "matched"]
        rows = [
            (20.1, 0.3, np.inf, True, True),
            (20.2, 0.3, 0.4, True, False),
            (20.3, 0.3, 0.4, False, True),  # at the border
            (25.1, 0.1, 1.0, True, False),
        ]
        return pd.DataFrame(rows, columns=columns)

    def test_nothing_injected(self):
        with pytest.raises(InputError, match="no source was injected"):
            selection_tables(pd.DataFrame())
        tables = selection_tables(self.table()[:0].assign(method=""), ["a"])
        assert tables["selection_by_magnitude"]["n"].sum() == 0

    def test_counted_by_hand(self):
        tables = selection_tables(self.table())
        by_magnitude = tables["selection_by_magnitude"]
        assert by_magnitude["lo"].iloc[[0, -1]].tolist() == [20.0, 25.0]
        assert by_magnitude["n"].iloc[[0, -1]].tolist() == [2, 1]
        assert by_magnitude["value"].iloc[[0, -1]].tolist() == [0.5, 0.0]
        by_distance = tables["selection_by_neighbour_distance"].set_index("lo")["value"]
        assert by_distance[0.3] == 0 and by_distance[2.0] == 1
        assert tables["selection"]["n"].sum() == 3
        coarse = selection_tables(self.table(), rules=Rules(mag_bins=[20, 30]))
        assert coarse["selection_by_magnitude"]["n"].tolist() == [3]

    def test_as_files(self):
        tables = {table.name: table for table in selection_study_tables(self.table())}
        for name, data in selection_tables(self.table()).items():
            pd.testing.assert_frame_equal(tables[name].data, data)
        by_distance = latex_table(tables["selection_by_neighbour_distance"])
        assert "found, by distance to the nearest detection in the image without it." in by_distance
        assert r"0.3--0.5 & 1 & $0.00^{+0.50}_{-0.00}$ \\" in by_distance
        both = latex_table(tables["selection"])
        assert r"25.0--25.5 & -- & $0.00^{+0.50}_{-0.00}$ & -- \\" in both

    def test_display(self):
        both = pd.concat([self.table().assign(method=m) for m in ("a", "b")])
        display = SelectionDisplay(both).plot(Figure())
        assert [text.get_text() for text in display.legend_.get_texts()] == ["a", "b"]
        line = display.errorbars_["b", "size_arcsec"].lines[0]
        np.testing.assert_array_equal(line.get_ydata(), [0.0, np.nan, np.nan, np.nan, 0.5])
        with pytest.raises(InputError, match=r"among \['a', 'b'\], got \['c'\]"):
            SelectionDisplay(both).plot(Figure(), ["c"])
        assert SelectionDisplay(self.table()).plot(Figure()).legend_ is None


def test_an_image_of_ones_own(images):
    own = image_batch(images.blend_images, images.survey)
    wanted = selection_table(SepDeblender(20), [images] * 2, generator(), progress=False)
    found = selection_table(SepDeblender(20), [own] * 2, generator(), progress=False)
    pd.testing.assert_frame_equal(found, wanted)
    assert found["x"].nunique() == 12  # other sources the second time
