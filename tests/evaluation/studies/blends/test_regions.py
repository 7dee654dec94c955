import numpy as np
import pandas as pd
import pytest

from btk_punet.errors import InputError, InputTypeError
from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.studies.blends.regions import (
    COMBINATIONS,
    OUTCOMES,
    combinations_of,
    region_table,
)
from tests.evaluation.conftest import bright_scenes
from tests.evaluation.detectors import (
    APART,
    BRIGHT,
    CLOSE,
    FAINT_ASIDE,
    FAINT_CLOSE,
    THREE,
    Hopeless,
    Peaks,
    Perfect,
    gaussian_scenes,
)

COLUMNS = [
    "scene", "method", "region", "n", "s", "b", "outcome", "combination", "x", "y",
    "neighbour_distance_arcsec", "magnitude_difference", "limit_snr",
]  # fmt: skip


def table_of(batch, deblender, **options):
    """Return the region table of what one deblender makes of a batch."""
    found = {"method": deblender(batch)}
    truth, detections = batch_tables(batch, found, options.get("first_scene", 0))
    return region_table(batch, truth, detections, {"method": deblender}, **options)


def numbers(table):
    """Return (n, s, b, outcome) of each region."""
    return list(table[["n", "s", "b", "outcome"]].itertuples(index=False, name=None))


class TestCombinationsOf:
    def test_nothing(self):
        assert combinations_of([], [], []).shape == (0,)

    def test_names(self):
        assert OUTCOMES == (
            "recognized", "unrecognized", "shredded", "undetected", "merged", "other",
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("n", "s", "b", "combination", "outcome"),
        [
            # The slide's own.
            (2, 2, 3, "s = n, b > n", "shredded"),
            (2, 2, 2, "s = n, b = n", "recognized"),
            (2, 2, 1, "s = n, 0 < b < n", "unrecognized"),
            (2, 1, 1, "0 < s < n, b = s", "undetected"),
            (2, 0, 1, "s = 0, 0 < b < n", "merged"),
            # The others of two.
            (2, 2, 0, "s = n, b = 0", "other"),
            (2, 1, 0, "0 < s < n, b = 0", "other"),
            (2, 1, 2, "0 < s < n, b = n", "other"),
            (2, 1, 3, "0 < s < n, b > n", "other"),
            (2, 0, 0, "s = 0, b = 0", "other"),
            (2, 0, 2, "s = 0, b = n", "merged"),
            (2, 0, 3, "s = 0, b > n", "merged"),
            # Of four, those that two cannot have.
            (4, 4, 1, "s = n, 0 < b < n", "unrecognized"),
            (4, 3, 3, "0 < s < n, b = s", "undetected"),
            (4, 2, 1, "0 < s < n, 0 < b < s", "other"),
            (4, 2, 3, "0 < s < n, s < b < n", "other"),
            # Of one.
            (1, 1, 1, "s = n, b = n", "recognized"),
            (1, 1, 2, "s = n, b > n", "shredded"),
            (1, 0, 1, "s = 0, b = n", "merged"),
            (1, 0, 0, "s = 0, b = 0", "other"),
            (1, 1, 0, "s = n, b = 0", "other"),
        ],
    )
    def test_each(self, n, s, b, combination, outcome):
        assert combinations_of([n], [s], [b]).tolist() == [combination]
        assert COMBINATIONS[combination] == outcome

    def test_all_of_up_to_five_have_a_name(self):
        every = [(n, s, b) for n in range(1, 6) for s in range(n + 1) for b in range(n + 3)]
        assert set(combinations_of(*np.transpose(every))) == set(COMBINATIONS)


class TestRegionTable:
    def test_empty_scenes(self):
        table = table_of(bright_scenes([[], []]), Hopeless())
        assert table.columns.tolist() == COLUMNS
        assert len(table) == 0
        pd.testing.assert_series_equal(
            table.dtypes, table_of(gaussian_scenes([APART]), Perfect()).dtypes
        )

    @pytest.mark.parametrize(
        ("scene", "detector", "expected"),
        [
            (APART, Peaks(), (2, 2, 2, "recognized")),
            (THREE, Peaks(), (3, 3, 3, "recognized")),
            (CLOSE, Peaks(), (2, 2, 1, "unrecognized")),
            ([*CLOSE, (28, 20, BRIGHT)], Peaks(), (3, 3, 2, "unrecognized")),
            (CLOSE, Peaks(split_above=300), (2, 2, 3, "shredded")),
            (FAINT_ASIDE, Peaks(), (2, 1, 1, "undetected")),
            (FAINT_CLOSE, Peaks(), (2, 0, 1, "merged")),
            (FAINT_CLOSE, Peaks(split_above=70), (2, 0, 3, "merged")),
            (CLOSE, Peaks(saturated_above=300), (2, 2, 0, "other")),
            (FAINT_ASIDE, Peaks(split_above=200), (2, 1, 3, "other")),
            (FAINT_CLOSE, Peaks(threshold=100), (2, 0, 0, "other")),
        ],
    )
    def test_outcomes_by_hand(self, scene, detector, expected):
        table = table_of(gaussian_scenes([scene]), detector)
        assert numbers(table) == [expected]
        assert COMBINATIONS[table["combination"][0]] == expected[-1]

    def test_noise_decides_in_both(self):
        # The same noise that hides the first source when it is alone hides it in the blend.
        batch = gaussian_scenes([APART])
        batch.blend_images[0, 0, 20, 20] -= 200
        assert numbers(table_of(batch, Peaks(threshold=180))) == [(2, 1, 1, "undetected")]

    def test_regions_of_several_scenes(self):
        batch = gaussian_scenes([[*APART, (50, 50, BRIGHT)], [], CLOSE, [(30, 30, BRIGHT)]])
        table = table_of(batch, Peaks(), first_scene=8)
        assert table["scene"].tolist() == [8, 10]
        assert table["region"].tolist() == [0, 0]
        assert numbers(table) == [(2, 2, 2, "recognized"), (2, 2, 1, "unrecognized")]
        assert table["x"].tolist() == [23, 21]

    def test_single_sources_if_wanted(self):
        batch = gaussian_scenes([[(50, 50, BRIGHT), *APART], [], [(30, 30, BRIGHT)]])
        table = table_of(batch, Peaks(split_above=100), least_sources=1)
        assert table[["scene", "region"]].to_numpy().tolist() == [[0, 0], [0, 1], [2, 0]]
        assert numbers(table) == [(1, 1, 3, "shredded"), (2, 2, 6, "shredded"),
                                  (1, 1, 3, "shredded")]  # fmt: skip
        assert table_of(batch, Peaks(), least_sources=3).empty

    def test_counted_by_hand(self, five_sources):
        # Two detections in the region of 0 and 1; one on 2. Source 4 is out of bounds.
        batch, found = five_sources
        truth, detections = batch_tables(batch, {"a": found})
        table = region_table(batch, truth, detections, {"a": Perfect()}, least_sources=1)
        assert table["n"].tolist() == [2, 1]
        assert table["b"].tolist() == [2, 1]
        assert table["s"].tolist() == [2, 1]

    def test_several_methods(self):
        batch = gaussian_scenes([CLOSE, APART])
        deblenders = {"perfect": Perfect(), "none": Hopeless(), "peaks": Peaks()}
        found = {name: deblender(batch) for name, deblender in deblenders.items()}
        truth, detections = batch_tables(batch, found)
        table = region_table(batch, truth, detections, deblenders)
        assert table["method"].tolist() == ["perfect"] * 2 + ["none"] * 2 + ["peaks"] * 2
        assert table["outcome"].tolist() == [
            "recognized", "recognized", "other", "other", "unrecognized", "recognized",
        ]  # fmt: skip
        one = region_table(batch, truth, detections, {"peaks": deblenders["peaks"]})
        of_peaks = table[table["method"] == "peaks"].reset_index(drop=True)
        pd.testing.assert_frame_equal(one, of_peaks)

    def test_to_parquet_and_back(self, tmp_path):
        for number, scene in enumerate([[], APART]):
            table = table_of(gaussian_scenes([scene]), Peaks())
            table.to_parquet(tmp_path / f"{number}.parquet")
            again = pd.read_parquet(tmp_path / f"{number}.parquet")
            assert again.columns.tolist() == COLUMNS
            pd.testing.assert_frame_equal(again[:0], table[:0], check_index_type=False)

    def test_bad_arguments(self):
        batch = gaussian_scenes([APART])
        truth, detections = batch_tables(batch, {"a": Perfect()(batch)})
        for options, match in [
            ({"k": 0}, "k must be above 0"),
            ({"least_sources": 0}, "least_sources must be at least 1, got 0"),
            ({"first_scene": 3}, "2 sources of the batch, in the scenes 3 to 3; got 2 in"),
        ]:
            with pytest.raises(InputError, match=match):
                region_table(batch, truth, detections, {"a": Perfect()}, **options)
        with pytest.raises(InputError, match=r"\['b'\] are not among the methods of truth, \['a'"):
            region_table(batch, truth, detections, {"b": Perfect()})
        with pytest.raises(InputError, match="No deblender given"):
            region_table(batch, truth, detections, {})
        with pytest.raises(InputTypeError, match="must be an instance"):
            region_table(batch, truth, detections, {"a": Perfect})
