"""The notebooks as files: in order, titled, and without anything that running them left.

That they run is for nbmake: see the test command of the README.
"""

import json
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
FOLDER = REPOSITORY / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
HOW_TO_STRIP = "jupyter nbconvert --clear-output --inplace notebooks/*.ipynb"


def read(path):
    return json.loads(path.read_text())


def left_by_running(notebook):
    """Return the ids of the code cells that are not as they were before they ran."""
    return [
        cell.get("id")
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and (cell["outputs"] or cell["execution_count"] is not None)
    ]


def text_of(notebook, kind):
    return "\n".join(
        "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind
    )


def test_what_running_leaves_is_seen():
    clean = {"id": "a", "cell_type": "code", "outputs": [], "execution_count": None}
    prose = {"id": "b", "cell_type": "markdown"}
    counted, printed = clean | {"execution_count": 1}, clean | {"outputs": [{"text": "1"}]}
    assert left_by_running({"cells": []}) == []
    assert left_by_running({"cells": [clean, prose]}) == []
    assert left_by_running({"cells": [clean, counted, printed]}) == ["a", "a"]


def test_numbered_in_order():
    numbers = [re.match(r"(\d\d)_[a-z_]+$", path.stem)[1] for path in NOTEBOOKS]
    assert numbers == [f"{number:02d}" for number in range(len(NOTEBOOKS))]
    assert len(NOTEBOOKS) == 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestEachNotebook:
    def test_holds_no_outputs(self, path):
        assert left_by_running(read(path)) == [], HOW_TO_STRIP

    def test_begins_with_its_title(self, path):
        first = read(path)["cells"][0]
        assert first["cell_type"] == "markdown"
        assert re.match(r"# \S", "".join(first["source"]))
        assert len(re.findall(r"^# ", text_of(read(path), "markdown"), flags=re.MULTILINE)) == 1

    def test_runs_with_any_python(self, path):
        assert read(path)["metadata"]["kernelspec"]["name"] == "python3"

    def test_each_code_cell_is_introduced(self, path):
        cells = read(path)["cells"]
        kinds = [cell["cell_type"] for cell in cells]
        assert all("code" != kinds[i] or "code" != kinds[i + 1] for i in range(len(kinds) - 1))

    def test_identities_of_cells_are_there_and_differ(self, path):
        identities = [cell["id"] for cell in read(path)["cells"]]
        assert len(set(identities)) == len(identities)

    def test_links_to_notebooks_lead_somewhere(self, path):
        for target in re.findall(r"\]\(([^)]+\.ipynb)\)", text_of(read(path), "markdown")):
            assert (FOLDER / target).is_file(), target

    def test_has_a_line_in_the_readme(self, path):
        assert f"](notebooks/{path.name})" in (REPOSITORY / "README.md").read_text()
