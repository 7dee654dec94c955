import base64
import json
import re
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.plotting.style import method_colours
from btk_punet.evaluation.report.html import Plot, _questions, write_plots, write_report
from btk_punet.evaluation.report.questions import MORE, question_of
from btk_punet.evaluation.report.sections import fraction_tables, probability_sections
from btk_punet.evaluation.studies.blends.plots import blend_plots
from btk_punet.evaluation.studies.blends.sections import blend_sections
from btk_punet.evaluation.studies.detection.summary import summary_tables
from btk_punet.evaluation.studies.probabilities.calibration_plots import OF_PANELS
from btk_punet.evaluation.studies.probabilities.probability_plots import probability_plots
from tests.evaluation.oracle import Oracle
from tests.evaluation.plotting.test_fractions import detection_rows, example_tables, truth_rows
from tests.evaluation.studies.blends.test_outcome_tables import outcome_tables, regions
from tests.evaluation.studies.outlines.test_metric import PAIR_AND_ONE
from tests.evaluation.studies.outlines.test_tables import TWO
from tests.evaluation.studies.outlines.test_tables import summed_up as outlines_of
from tests.evaluation.studies.probabilities.test_probability_tables import SCENES, plain, summed_up

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
RUN = {
    "status": "finished",
    "n_blends": 400,
    "parameters": {"seed": 7, "survey": {"name": "Euclid_VIS"}, "radius_arcsec": 0.25},
    "versions": {"numpy": "2.3.5"},
    "methods": {"SEP": {"class": "btk_punet.peers.SepDeblender", "parameters": {"thresh": 1.2}}},
    "timing_ms_per_blend": {"drawing": 30.0, "SEP": 1.234, "SExtractor": 1234.0},
    "notes": ["A note of the run."],
}


class Page(HTMLParser):
    """Collects text and tags of a page, and checks that tags are closed in order."""

    empty = {"meta", "img", "link", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.empty:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "title"} & set(self.open):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def report(folder, *args, **kwargs):
    return Page(write_report(folder, *args, **kwargs).read_text(encoding="utf-8"))


def empty_tables():
    return summary_tables(
        truth_rows("SEP", [False] * 3, counts=False), detection_rows("SEP", [], [])
    )


class TestWriteReport:
    def test_of_nothing(self, tmp_path):
        page = report(tmp_path, {}, {})
        assert "Completeness Recall: matched true sources" in page.text
        assert "not finished" not in page.text

    def test_without_sources_and_detections(self, tmp_path):
        page = report(tmp_path, {}, empty_tables())
        assert "SEP – – – 0" in page.text
        assert "nan" not in page.text.lower()

    def test_headline_has_intervals(self, tmp_path):
        page = report(tmp_path, RUN, example_tables())
        assert "SEP 0.500 (0.211–0.789) 1.000 (0.500–1.000) 100% 1 1.2" in page.text
        assert "ProbaUNet 0.000 (0.000–0.333) – 0% 0 –" in page.text
        assert "Information ceiling 0.500 (0.211–0.789)" in page.text
        assert "1,234" in page.text

    def test_tables_have_methods_as_columns(self, tmp_path):
        page = report(tmp_path, RUN, example_tables())
        head = "Distance [arcsec] Sources SEP SExtractor ProbaUNet Information ceiling"
        assert f"{head} 0.3–0.5 1 0.00 (0.00–0.50) 1.00 (0.50–1.00)" in page.text
        assert "Magnitude Sources SEP" in page.text and "24.0–24.5" in page.text
        assert "flux ≤ 0 – 0.00 (0.00–0.50) –" in page.text

    def test_says_what_was_run(self, tmp_path):
        page = report(tmp_path, RUN, example_tables(), notes=["A note of the caller."])
        for text in (
            "SEP · 400 blends · 2 sources that count",
            "Scenes 400, seed 7 Survey Euclid_VIS True sources 2 that count",
            "Methods and their settings SEP SepDeblender(thresh=1.2)",
            "survey.name Euclid_VIS",
            "numpy 2.3.5",
            "A note of the run.",
            "A note of the caller.",
            "closer than 0.25 arcsec",
        ):
            assert text in page.text

    def test_run_that_is_not_finished(self, tmp_path):
        assert "status: running" in report(tmp_path, RUN | {"status": "running"}, {}).text

    def test_needs_no_other_file(self, tmp_path):
        image = tmp_path / "plot.png"
        image.write_bytes(PIXEL)
        page = report(tmp_path, RUN, example_tables(), [("A plot", "Read it so.", image)])
        for tag, attributes in page.tags:
            assert tag not in ("script", "link", "iframe")
            assert attributes.get("href", "#").startswith("#")
            assert attributes.get("src", "data:").startswith("data:")
        content = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert not re.search(r"https?://|url\(|@import", content)
        assert base64.b64encode(PIXEL).decode() in content

    def test_images_have_alternative_texts_and_sizes(self, tmp_path):
        image = tmp_path / "plot.png"
        image.write_bytes(PIXEL)
        page = report(tmp_path, {}, {}, [Plot('A "plot"', "Read it so.", image)])
        (attributes,) = [attributes for tag, attributes in page.tags if tag == "img"]
        assert attributes["alt"] == 'Plot: A "plot". Read it so.'
        assert (attributes["width"], attributes["height"]) == ("1", "1")

    def test_everything_is_escaped(self, tmp_path):
        evil = "<script>alert(1)</script>"
        tables = {name: table.replace("SEP", evil) for name, table in example_tables().items()}
        image = tmp_path / "plot.png"
        image.write_bytes(PIXEL)
        run = {
            "title": evil, "status": evil, "notes": [evil], "parameters": {evil: evil},
            "methods": {evil: {"class": evil, "parameters": {evil: [evil]}}},
            "versions": {evil: evil}, "timing_ms_per_blend": {evil: 1.0},
        }  # fmt: skip
        page = report(tmp_path, run, tables, [(evil, evil, image)], [evil])
        assert "script" not in {tag for tag, _ in page.tags}
        assert evil in page.text

    def test_same_input_gives_the_same_bytes(self, tmp_path):
        first, again = (
            write_report(tmp_path / name, RUN, example_tables()).read_bytes() for name in "ab"
        )
        assert first == again

    def test_takes_what_json_gives_back(self, tmp_path):
        run = json.loads(json.dumps(RUN | {"parameters": {"edges": None, "list": [1, 2.5]}}))
        assert "edges null list [1, 2.5]" in report(tmp_path, run, {}).text


class TestQuestions:
    def test_tables_and_plots_of_a_question_are_in_one_section(self, tmp_path):
        image = tmp_path / "completeness_by_magnitude.png"
        other = tmp_path / "mine.png"
        for path in (image, other):
            path.write_bytes(PIXEL)
        plots = [("Completeness by magnitude", "Read it so.", image), ("Mine", "Or so.", other)]
        page = report(tmp_path, RUN, example_tables(), plots)
        sections = [attributes.get("id") for tag, attributes in page.tags if tag == "section"]
        assert sections == ["run", "result", "found", "false", "more", "words", "parameters"]
        # The plot and the table of one title stand below one heading.
        assert page.text.count("Completeness by magnitude") == 1
        assert page.text.index("Completeness by magnitude") < page.text.index("Read it so.")
        assert page.text.index("Read it so.") < page.text.index(
            "Which detections are false? Purity"
        )

    def test_no_table_is_lost(self, probability_tables, blend_tables):
        tables = example_tables() | probability_tables | blend_tables
        every = [
            section["title"]
            for sections in (fraction_tables, blend_sections, probability_sections)
            for section in sections(tables)
        ]
        shown = [
            title
            for section in _questions(tables, [])
            for title, item in section["items"].items()
            if "table" in item
        ]
        assert len(every) > 8
        assert sorted(shown) == sorted(every)

    def test_links_lead_to_sections(self, tmp_path, blend_tables):
        page = report(tmp_path, RUN, example_tables() | blend_tables)
        links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
        assert len(links) > 4
        assert links <= {f"#{attributes.get('id')}" for _, attributes in page.tags}

    def test_names(self):
        assert question_of("purity_completeness").anchor == "equal-purity"
        assert question_of("blend_identification").anchor == "probabilities"
        assert question_of("scenes_worst").anchor == "scenes"
        assert question_of("mine") is MORE


class TestWritePlots:
    def test_of_nothing(self, tmp_path):
        assert write_plots({}, tmp_path) == []
        assert write_plots(empty_tables(), tmp_path) == []

    def test_writes_every_plot_the_same_again(self, tmp_path):
        matplotlib.use("agg")  # else it is chosen, a change of the settings, when first needed
        settings = matplotlib.rcParams.copy()
        tables = example_tables()
        plots = write_plots(tables, tmp_path / "a")
        assert matplotlib.rcParams == settings
        assert [plot.path.stem for plot in plots] == [
            "completeness_by_magnitude",
            "completeness_by_neighbour_distance",
            "completeness_by_limit_snr",
            "purity_by_magnitude",
            "purity_by_neighbour_distance",
            "efficiency",
            "count_matrix",
            "positions_by_magnitude",
            "positions_by_neighbour_distance",
        ]
        # Whatever settings the user has made.
        with matplotlib.rc_context({"font.size": 20, "savefig.dpi": 30, "lines.linewidth": 9}):
            again = write_plots(tables, tmp_path / "b")
        for first, second in zip(plots, again, strict=True):
            assert first.path.read_bytes() == second.path.read_bytes()
            assert first.path.read_bytes().startswith(b"\x89PNG")
            assert b"Software" not in first.path.read_bytes()
            assert first.how_to_read.endswith(".")

    @pytest.mark.parametrize("ending", ["pdf", "svg"])
    def test_other_formats(self, ending, tmp_path):
        tables = {"headline": example_tables()["headline"]}
        tables["purity_by_magnitude"] = example_tables()["purity_by_magnitude"]
        for folder in "ab":
            write_plots(tables, tmp_path / folder, formats=[ending])
        files = [tmp_path / folder / f"purity_by_magnitude.{ending}" for folder in "ab"]
        assert files[0].read_bytes() == files[1].read_bytes()
        assert (tmp_path / "a" / "purity_by_magnitude.png").exists()


@pytest.fixture(scope="module")
def probability_tables():
    """Tables on an oracle with a false detection in each scene, beside a plain method."""
    methods = {"SEP": plain([20, 45, 5], [20, 45, 5]), "oracle": Oracle((0.9,), spurious=0.2)}
    return summed_up(SCENES, methods)


class TestProbabilities:
    def test_report_has_their_tables(self, tmp_path, probability_tables):
        page = report(tmp_path, {}, probability_tables)
        for text in (
            "oracle at the purity of each other method A positive margin means",
            "SEP 0.667 0.667 1.000 +0.333 (+0.333 to +0.333) (+0.333 to +0.333)",
            "Margin of oracle at equal purity, by distance to the nearest neighbour Positive is",
            "0.5–0.8 20 +0.500 (+0.500 to +0.500) > 2 10 +0.000",
            "Scores of the probabilities Small is better",
            "Equal purity A method that gives probabilities",
        ):
            assert text in page.text

    def test_negative_margins_have_a_minus(self, tmp_path, probability_tables):
        worse = probability_tables["equal_purity"].assign(margin=-0.25, margin_lo=-0.5)
        page = report(tmp_path, {}, {"equal_purity": worse})
        assert "−0.250 (−0.500 to +0.333)" in page.text

    def test_margins_that_do_not_exist(self, tmp_path, probability_tables):
        numbers = ["completeness", "margin", "margin_lo", "margin_hi", "margin_lo_95"]
        never = probability_tables["equal_purity"].assign(**dict.fromkeys(numbers, np.nan))
        page = report(tmp_path, {}, {"equal_purity": never})
        assert "SEP 0.667 0.667 – – –" in page.text
        assert "nan" not in page.text.lower()

    def test_report_without_them_does_not_explain_them(self, tmp_path):
        assert "Equal purity" not in report(tmp_path, {}, example_tables()).text

    def test_plots(self, tmp_path, probability_tables):
        plots = write_plots(probability_tables, tmp_path)
        assert [plot.path.stem for plot in plots] == [
            "purity_completeness",
            "calibration",
            "count_calibration",
            "calibration_by_magnitude",
            "calibration_by_neighbour_distance",
        ]
        assert all(plot.how_to_read.endswith(".") for plot in plots)
        assert all(plot.path.read_bytes().startswith(b"\x89PNG") for plot in plots)

    def test_methods_keep_their_colours(self, probability_tables):
        from matplotlib.colors import to_hex
        from matplotlib.figure import Figure

        headline = pd.DataFrame({"method": ["SEP", "oracle"], "ceiling": np.nan})
        for quantity in ("completeness", "purity"):
            for column in (quantity, f"{quantity}_lo", f"{quantity}_hi"):
                headline[column] = 0.5
        tables = {**probability_tables, "headline": headline}
        for name, *_, display in probability_plots(tables):
            of_panels = isinstance(display, OF_PANELS)
            display.plot(Figure() if of_panels else Figure().subplots())
            shown = getattr(display, "display", display)
            lines = shown.curves_ if name == "purity_completeness" else shown.errorbars_
            line = lines["p_detect", "oracle"] if of_panels else lines["oracle"]
            colour = line.get_color() if hasattr(line, "get_color") else line[0].get_color()
            assert to_hex(colour) == to_hex(method_colours(["SEP", "oracle"])["oracle"])


@pytest.fixture(scope="module")
def blend_tables():
    """Tables on three blends of a method, and on outlines of two others."""
    table = regions(
        ("SEP", "s = n, b = n", 0.6), ("SEP", "s = n, b = n", 0.4), ("SEP", "s = n, b = 0", 0.6)
    )
    return outcome_tables(table, ["SEP"]) | outlines_of([PAIR_AND_ONE], TWO)


class TestBlends:
    def test_of_nothing(self, tmp_path):
        nothing = outcome_tables(regions(), ["SEP"]) | outlines_of([[]], {"SEP": ([[]], True)})
        assert write_plots(nothing, tmp_path) == []
        page = report(tmp_path, {}, nothing)
        assert "SEP 0 – – – – – 0 – –" in page.text
        assert "Fractions of the blends" not in page.text
        assert "nan" not in page.text.lower()

    def test_report_has_their_tables(self, tmp_path, blend_tables):
        page = report(tmp_path, {"parameters": {"radius_arcsec": 0.25}}, blend_tables)
        for text in (
            "What becomes of blends Fractions of the blends",
            "SEP 3 0.67 (0.39–0.86) 0.00 (0.00–0.25)",
            "Combination Outcome SEP s = n, b = n Recognized 2 s = n, b = 0 Other 1",
            "sure 3 0.822 (0.725–0.919) 0.333",
            "plain 2 0.733 (0.667–0.800) 0.333 – – – 2 0.000 (0.000–0.333)",
            "sure blended 1.000 0.333 0.500 0.333 15",
            "What becomes of a blend Each of its sources is drawn alone",
            "or within 0.25 arcsec of one. Outline, footprint, IoU",
        ):
            assert text in page.text

    def test_report_without_them_does_not_explain_them(self, tmp_path):
        text = report(tmp_path, {}, example_tables()).text
        assert "What becomes of a blend" not in text and "Blended region" not in text

    def test_plots(self, tmp_path, blend_tables):
        plots = write_plots(blend_tables, tmp_path)
        assert [plot.path.stem for plot in plots] == [
            "outcomes_by_neighbour_distance",
            "outcomes_by_magnitude_difference",
            "outcomes_by_limit_snr",
            "segmentation_by_magnitude",
            "segmentation_by_neighbour_distance",
            "mask_curves",
        ]
        assert all(plot.how_to_read.endswith(".") for plot in plots)
        assert all(plot.path.read_bytes().startswith(b"\x89PNG") for plot in plots)

    def test_methods_keep_their_colours(self, blend_tables):
        from matplotlib.figure import Figure

        everyone = ["SEP", "sure", "plain"]
        tables = blend_tables | {"headline": pd.DataFrame({"method": everyone})}
        displays = {name: display for name, *_, display in blend_plots(tables)}
        curves = displays["mask_curves"].plot(Figure()).curves_
        assert curves[0.5, "sure"].get_color() == method_colours(everyone)["sure"]
        lines = displays["segmentation_by_magnitude"].plot(Figure().subplots()).errorbars_
        assert lines["plain"].lines[0].get_color() == method_colours(everyone)["plain"]
