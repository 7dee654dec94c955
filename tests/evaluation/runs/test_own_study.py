"""A study of one's own, in one file: its tidy table, its table, its section in the report."""

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table as AstropyTable

from btk_punet import Comparison
from btk_punet.errors import BatchFailedError, InputError, InputTypeError, RunExistsError
from btk_punet.evaluation.quantities import METHOD, Column
from btk_punet.evaluation.runs.compare import write_comparison_report
from btk_punet.evaluation.runs.comparison import chosen_studies
from btk_punet.evaluation.studies.base import Study, Tidy
from btk_punet.evaluation.studies.detection.result import Result
from btk_punet.evaluation.studies.registry import STUDIES
from btk_punet.evaluation.studies.table import Layout, Table
from tests.evaluation.runs.conftest import small_run

SCENE = Column("scene", "number of the scene in the run")
LIGHT = Column("light", "sum of the image", "electron", "Light", ",.0f")


class Brightness(Study):
    """The example of the documentation."""

    anchor, title = "brightness", "How bright are the scenes?"
    lead = "Asked of every image, whatever was found in it."
    collects = (Tidy("brightness", (SCENE, METHOD, LIGHT), sort_by=("scene",)),)

    def collect(self, batch):
        light = batch.blend_batch.blend_images.sum(axis=(1, 2, 3))
        scenes = batch.first_scene + np.arange(len(light))
        of_method = [
            pd.DataFrame({"scene": scenes, "method": method, "light": light})
            for method in batch.deblend_batches
        ]
        return {"brightness": pd.concat(of_method)}

    def tables(self, run):
        if "brightness" in run.tidy:
            mean = run.tidy["brightness"].groupby("method", sort=False)["light"].mean()
            layout = Layout(("method",), ("light",))
            yield Table("mean_light", self.title, mean.reset_index(), (LIGHT,), layout)


class Collects(Study):
    """Collects what it is told to."""

    anchor, title = "collects", "What is collected?"
    collects = (Tidy("mine"),)

    def __init__(self, **tables):
        self.given = tables

    def collect(self, batch):
        return self.given


@pytest.fixture(scope="module")
def own(tmp_path_factory, catalog):
    folder = tmp_path_factory.mktemp("own") / "run"
    studies = [*STUDIES, Brightness()]
    return small_run(folder, catalog, n_blends=3, studies=studies)


def test_no_studies(tmp_path, catalog):
    result = small_run(tmp_path / "run", catalog, "sep", n_blends=2, studies=[])
    assert result.tables == {}
    assert list((tmp_path / "run").glob("tables/*")) == []
    assert str(result).split()[:4] == ["method", "completeness", "purity", "ceiling"]
    write_comparison_report(result)
    assert "2 scenes" in (tmp_path / "run" / "report.html").read_text()


def test_its_tidy_table_has_units_and_its_table_is_written(own):
    read = AstropyTable.read(own.folder / "brightness.parquet")
    assert str(read["light"].unit) == "electron"
    assert read["light"].description == "sum of the image"
    assert list(read["scene"]) == [0, 1, 2, 0, 1, 2]
    assert list(read["method"]) == ["sep"] * 3 + ["pure"] * 3
    written = AstropyTable.read(own.folder / "tables" / "mean_light.ecsv")
    assert list(written["light"]) == pytest.approx([np.mean(read["light"][:3])] * 2)
    assert (own.folder / "tables" / "mean_light.tex").is_file()
    # Beside all the others.
    assert {"headline", "completeness_by_magnitude", "mean_light"} <= set(own.tables)
    assert own.run["parameters"]["studies"][-1] == "brightness"


def test_it_is_loaded_and_has_its_section(own):
    loaded = Comparison.load(own.folder, studies=[Result, Brightness])
    pd.testing.assert_frame_equal(loaded.tables["mean_light"], own.tables["mean_light"])
    assert list(loaded.tables) == ["headline", "mean_light"]
    write_comparison_report(loaded)
    page = (own.folder / "report.html").read_text()
    assert '<section id="brightness">' in page and "How bright are the scenes?" in page
    assert '<a href="#brightness">' in page and "Light [electron]" in page
    # Of a run that did not collect for it, it has nothing to say.
    assert "mean_light" not in Comparison.load(own.folder).tables


def test_other_studies_make_another_run(own, catalog):
    with pytest.raises(RunExistsError, match="studies: "):
        small_run(own.folder, catalog, n_blends=3)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (Collects(other=pd.DataFrame({"method": ["sep"]})), r"a table 'other' .* add a Tidy of"),
        (Collects(mine=pd.DataFrame({"x": [1]})), "a table 'mine' without a column 'method'"),
    ],
)
def test_tables_that_cannot_be_kept(study, message, tmp_path, catalog):
    with pytest.raises(BatchFailedError, match=f"in the study 'collects' of sep: .*{message}"):
        small_run(tmp_path / "run", catalog, "sep", n_blends=1, studies=[study])


def named(**attributes):
    return type("Mine", (Study,), {"anchor": "mine", "title": "Mine?"} | attributes)


@pytest.mark.parametrize(
    ("studies", "error", "message"),
    [
        ([3], InputTypeError, "studies must hold subclasses of Study, or objects of them, got 3"),
        ([int], InputTypeError, "subclasses of Study"),
        ([named(anchor="")], InputError, "Mine must have an anchor and a title"),
        ([Study], InputError, "Study must have an anchor and a title"),
        ([Result, named(anchor="result")], InputError, "the same anchor 'result': rename one"),
        (
            [Brightness, named(collects=(Tidy("brightness"),))],
            InputError,
            "the same tidy table 'brightness'",
        ),
        ([named(collects=(Tidy("truth"),))], InputError, "Mine collects a tidy table 'truth', and"),
    ],
)
def test_studies_that_cannot_be(studies, error, message):
    with pytest.raises(error, match=message):
        chosen_studies(studies)


def test_studies_as_classes_and_objects():
    assert [type(study) for study in chosen_studies([Result(), Brightness])] == [Result, Brightness]
    assert [type(study) for study in chosen_studies(None)] == list(STUDIES)


def test_two_tables_of_one_name(own):
    class Again(Brightness):
        anchor, collects = "again", ()

    loaded = Comparison.load(own.folder, studies=[Brightness, Again])
    with pytest.raises(InputError, match="a table of the name 'mean_light': rename that of Again"):
        _ = loaded.tables


def test_an_answer_to_another_question(own):
    answers = named(answers=lambda self, run, tables: {"colour": "Blue."})
    with pytest.raises(InputError, match=r"some of \['gain', 'price', 'home'\], got 'colour'"):
        write_comparison_report(Comparison.load(own.folder, studies=[answers]))
