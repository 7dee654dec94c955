"""Package metadata and dependencies of btk_punet."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "btk_punet/__init__.py").read_text())[1]

# The version that was tested; it takes any JAX, so pip finds one for Python 3.10 to 3.12.
SCARLET2 = ["scarlet2>=0.5.1,<0.6"]
TEST = [
    "pytest>=8",
    "nbmake>=1.5",
    "ipykernel>=6",
    "ipywidgets>=8",
    "ruff>=0.8,<0.20",
    "mypy>=1.13",
    "selenium>=4.20",
    *SCARLET2,
]
NOTEBOOKS = ["jupyterlab>=4", "ipywidgets>=8"]

setup(
    name="btk_punet",
    version=VERSION,
    description=(
        "Detectors of blended galaxies on Euclid-like images, through the BlendingToolKit: "
        "completeness, purity, and how far they are from what the pixels could tell"
    ),
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["btk_punet", "btk_punet.*"]),
    package_data={
        "btk_punet.evaluation.report": ["*.jinja"],
        "btk_punet.model": ["presets/*/*"],
    },
    python_requires=">=3.10,<3.13",
    install_requires=[
        # The interfaces that this plugin fills in are those of BTK 1.0.9.
        "blending-toolkit==1.0.9",
        # NumPy 2.4 breaks astropy 6, which BTK 1.0.9 requires; 2.0 cannot tell how to write an
        # array as GalSim does, which saves PSFs.
        "numpy>=2.1,<2.4",
        "astropy>=6.1,<7",
        "galsim>=2.5",
        "h5py>=3.10",
        "jinja2>=3.1",
        "joblib>=1.3",
        "matplotlib>=3.8",
        "pandas>=2.2",
        # 3 for Python 3.11 and later; 3.10 has 2.0 at most.
        "photutils>=2.0.2,<4",
        "pyarrow>=15",
        # BTK 1.0.9 needs spatial.distance_matrix, which SciPy 1.20 will not have.
        "scipy>=1.13,<1.20",
        "sep>=1.4",
        "surveycodex>=1.0",
        # The network: Keras 3 on TensorFlow; TensorFlow Probability wants the old Keras beside it.
        "tensorflow>=2.21,<2.22",
        "tensorflow-probability>=0.25,<0.26",
        "tf-keras>=2.21,<2.22",
        "threadpoolctl>=3.1",
        "tqdm>=4.60",
    ],
    extras_require={
        "test": TEST,
        "notebooks": NOTEBOOKS,
        "scarlet2": SCARLET2,
        "dask": ["dask[distributed]"],
    },
    entry_points={"console_scripts": ["btk-punet = btk_punet.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Astronomy",
    ],
)
