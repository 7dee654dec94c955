"""The documentation builds without a warning and without a network, and is complete."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import btk_punet

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
# What the pages take from outside of docs.
INCLUDED = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "btk_punet/model/presets/euclid-vis/README.md",
    "notebooks",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built from a copy because the build writes beside its sources."""
    folder = tmp_path_factory.mktemp("documentation")
    not_built = shutil.ignore_patterns("_build", "generated", ".ipynb_checkpoints")
    shutil.copytree(DOCS, folder / "docs", ignore=not_built)
    for name in INCLUDED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, folder / name)
    build = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-n", "-q"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    environment.pop("BTK_PUNET_DOCS", None)
    done = subprocess.run(
        [*build, "docs", "site"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "site"


def test_every_page_is_there(site):
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    pages |= {Path("notebooks", f"{path.stem}.html") for path in REPOSITORY.glob("notebooks/*")}
    built = {path.relative_to(site) for path in site.rglob("*.html")}
    assert {page for page in pages if page.name != ".html"} <= built
    assert Path("index.html") in pages


def test_every_public_name_is_listed_once():
    index = (DOCS / "api/index.rst").read_text()
    listed = re.findall(r"^(?:   |\.\. data:: )(\w+)$", index, flags=re.MULTILINE)
    assert sorted(listed) == btk_punet.__all__, "docs/api/index.rst lists the public names"


@pytest.mark.parametrize("name", btk_punet.__all__)
def test_every_public_name_has_its_description(site, name):
    page = site / f"api/generated/btk_punet.{name}.html"
    described = page if page.is_file() else site / "api/index.html"
    assert f'id="btk_punet.{name}"' in described.read_text(), name


def test_pages_show_nothing_of_what_keras_adds(site):
    network = (site / "api/generated/btk_punet.ProbaUNet.html").read_text()
    assert 'id="btk_punet.ProbaUNet.sample"' in network
    assert 'id="btk_punet.ProbaUNet.compile"' not in network


def test_every_figure_is_drawn_by_a_script_and_shown(site):
    drawn = []
    scripts = ("real_fields", "masked_images", "lost_workers")
    for script in ("docs/figures.py", *(f"benchmarks/{name}.py" for name in scripts)):
        text = (REPOSITORY / script).read_text()
        names = re.search(r"^FIGURES = \((.*)\)$", text, flags=re.MULTILINE)[1]
        drawn += re.findall(r"\w+", names)
    assert {path.stem for path in (DOCS / "figures").glob("*.png")} == set(drawn)
    assert set(drawn) <= {path.stem for path in (site / "_images").iterdir()}


def test_nothing_is_fetched_from_elsewhere(site):
    """A page that loads scripts, styles or pictures from another host is broken without it."""
    for path in site.rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="(https?:[^"]+)',
            path.read_text(),
        )
        assert fetched == [], path
