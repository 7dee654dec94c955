"""Configuration of Sphinx: the theme and conventions of astropy's affiliated packages.

The pages build without a network, with warnings as errors. With BTK_PUNET_DOCS=release, as the
workflow that publishes them sets it, the notebooks are also run, so that their output is shown, and
names of other packages link to their documentation.
"""

import inspect
import os
import shutil
from pathlib import Path

import btk_punet

HERE = Path(__file__).parent
RELEASE = os.environ.get("BTK_PUNET_DOCS") == "release"

project = "btk_punet"
author = "The btk_punet authors"
copyright = f"2026, {author}"
version = release = btk_punet.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "myst_nb",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
templates_path = ["_templates"]

# -- Pages and notebooks ---------------------------------------------------------------------

# Sphinx reads only what is below its own folder.
shutil.copytree(
    HERE.parent / "notebooks",
    HERE / "notebooks",
    ignore=shutil.ignore_patterns(".*"),
    dirs_exist_ok=True,
)

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "force" if RELEASE else "off"
nb_execution_timeout = 900
nb_execution_raise_on_error = True
copybutton_exclude = ".linenos, .gp, .go"

# -- API from the docstrings -------------------------------------------------------------------

autosummary_generate = True
autodoc_default_options = {"members": True, "inherited-members": True}
autodoc_inherit_docstrings = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
default_role = "py:obj"
add_module_names = False

# `-n` checks the references to this package's names in the pages. Single backticks in docstrings
# also quote what has no page here, and the types of other packages are known only online.
nitpick_ignore_regex = [
    ("py:obj", ".*"),
    ("py:.*", r"(?!btk_punet\.).*"),
    ("py:class", r"btk_punet\..*"),
]

if RELEASE:
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
        "astropy": ("https://docs.astropy.org/en/stable", None),
        "btk": ("https://lsstdesc.org/BlendingToolKit", None),
    }


def _skip_foreign_member(app, what, name, member, skip, options):
    """Leave out what a class inherits from Keras, BTK or Python."""
    member = inspect.unwrap(getattr(member, "fget", None) or member)
    is_foreign = not str(getattr(member, "__module__", None)).startswith("btk_punet")
    return True if inspect.isroutine(member) and is_foreign else None


def setup(app):
    """Register what the configuration adds to Sphinx."""
    app.connect("autodoc-skip-member", _skip_foreign_member)


# -- Theme ----------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = f"btk_punet {release}"
html_static_path = ["_static"]
html_css_files = ["btk_punet.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "btk_punet"},
    "navbar_align": "left",
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
html_sidebars = {"index": [], "benchmark": [], "first_steps": [], "changelog": []}
