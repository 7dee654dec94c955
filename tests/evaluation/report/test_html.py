"""The page: everything that studies give is on it, escaped, in order, and nothing is fetched."""

from html.parser import HTMLParser

import pytest

from btk_punet.evaluation.report.files import write_figures
from btk_punet.evaluation.report.html import Section, write_report
from btk_punet.evaluation.studies.base import Collected, Definition, Figure, Study
from tests.evaluation.report.conftest import make_binned, make_split, make_table
from tests.evaluation.report.test_files import Line


class Shares(Study):
    anchor, title, lead = "shares", "Who has <more>?", "Asked of all."

    def definitions(self, run, tables):
        yield Definition("Share", "A part & more.")

    def answers(self, run, tables):
        return {"gain": "It gains.", "price": "It costs."}


class Silent(Study):
    anchor, title = "silent", "Nothing?"


class Page(HTMLParser):
    """The parts of a page that tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.text, self.images, self.ids, self.links, self.open = text, [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        if tag == "a":
            self.links.append(values["href"])
        if tag == "img":
            self.images.append(values)
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page_of(folder, run=None, tables=(), figures=(), study=None):
    """Return the page of one study with some tables and figures, and of one without any."""
    paths = write_figures(figures, folder, ())
    by_name = {table.name: table for table in tables}
    sections = [Section(study or Shares(), by_name, figures, paths), Section(Silent(), {})]
    collected = Collected(["a"], 3, {})
    return Page(write_report(folder, run or {}, sections, collected).read_text())


def test_of_nothing(tmp_path):
    page = page_of(tmp_path, study=Silent())
    assert page.ids == []
    assert "<table" not in page.text


def test_sections(tmp_path, tables):
    page = page_of(tmp_path, {"methods": {"a": {}}}, tables)
    assert page.ids == ["answer", "shares", "run", "words"]
    assert set(page.links) == {"#shares", "#run", "#words"}
    assert "Who has &lt;more&gt;?" in page.text
    assert "A part &amp; more." in page.text


def test_answer_is_at_the_top_in_order(tmp_path):
    page = page_of(tmp_path, {"home": "a was trained elsewhere."})
    places = [page.text.index(t) for t in ("It gains.", "It costs.", "a was trained elsewhere.")]
    assert places == sorted(places)


def test_numbers_with_intervals(tmp_path):
    page = page_of(tmp_path, tables=[make_table(), make_split()])
    assert '<td>0.50 <span class="interval">(0.45–0.56)</span></td>' in page.text
    assert "<td>1,234</td>" in page.text
    assert "<td>–</td>" in page.text
    assert "<td>−0.25</td>" in page.text
    assert "b&lt;c" in page.text


def test_long_tables_are_folded(tmp_path):
    short = page_of(tmp_path, tables=[make_binned()])
    long = page_of(tmp_path, tables=[make_table(
        rows=[(i, 0.5, 0.4, 0.6) for i in range(3)],
        layout=type(make_table().layout)(("method",), ("n",), long=True))])  # fmt: skip
    assert "<details>" not in short.text
    assert "<details>" in long.text


def test_table_and_figure_of_one_title_stand_together(tmp_path):
    figure = Figure("line", "Shares & more", "Up is better.", Line())
    page = page_of(tmp_path, tables=[make_table()], figures=[figure])
    assert page.text.count("<h3>Shares &amp; more</h3>") == 1
    (image,) = page.images
    assert image["src"].startswith("data:image/png;base64,")
    assert image["alt"] == "Plot: Shares & more. Up is better."
    assert (int(image["width"]), int(image["height"])) == (220, 110)


def test_what_was_run(tmp_path):
    run = {
        "status": "running",
        "n_blends": 1200,
        "notes": ["<b>Mind</b> this."],
        "scenes": {"Placing": "groups of 1 to 6"},
        "methods": {"m$1$": {"class": "x.y.Sep", "parameters": {"thresh": 1.5}}},
        "command": "btk-punet compare -n 1200",
        "parameters": {"survey": {"name": "VIS"}, "seed": 0},
        "versions": {"numpy": "2"},
    }
    page = page_of(tmp_path, run)
    for text in ("not finished (status: running)", "&lt;b&gt;Mind&lt;/b&gt; this.", "1,200 scenes",
                 "groups of 1 to 6", "Sep(thresh=1.5)", "btk-punet compare -n 1200", "survey.name",
                 "m$1$"):  # fmt: skip
        assert text in page.text
    assert "#again" in page.links


@pytest.mark.parametrize("word", ["http://", "https://", "<link", "<script"])
def test_nothing_is_fetched(word, tmp_path, tables):
    assert word not in page_of(tmp_path, tables=tables).text


def test_the_same_bytes_again(tmp_path, tables):
    assert page_of(tmp_path, tables=tables).text == page_of(tmp_path, tables=tables).text
