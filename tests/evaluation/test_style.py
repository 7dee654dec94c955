"""What the plots share: lengths of error bars, and names of bins on an axis."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from btk_punet.evaluation.style import error_lengths, set_bin_ticks


def test_error_lengths():
    assert error_lengths(pd.DataFrame(columns=["value", "value_lo", "value_hi"])).shape == (2, 0)
    rows = pd.DataFrame({"a": [0.5, 1.0], "a_lo": [0.3, 0.9], "a_hi": [0.6, 1.0 - 1e-16]})
    np.testing.assert_allclose(error_lengths(rows, "a"), [[0.2, 0.1], [0.1, 0.0]], atol=1e-12)
    assert (error_lengths(rows, "a") >= 0).all()


def test_bins_on_an_axis():
    ax = Figure().subplots()
    bins = pd.DataFrame({"lo": [22.0, 22.5], "hi": [22.5, np.inf]})
    for by, names in (
        ("magnitude", ["22.0–22.5", "> 22.5"]),
        ("limit_snr", ["22–22.5", "> 22.5"]),
    ):
        set_bin_ticks(ax, bins, by)
        assert [text.get_text() for text in ax.get_xticklabels()] == names
        np.testing.assert_array_equal(ax.get_xticks(), [0, 1])
