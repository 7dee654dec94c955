"""Data that is not part of the project: found where it is, else the tests that need it skip."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def cosmos_dir():
    """Folder of the 50 real galaxies of HST/COSMOS, from BTK's example files."""
    folder = Path(
        os.environ.get("BTK_PUNET_COSMOS_DIR") or REPOSITORY.parent / "shared/data/cosmos"
    )
    if not (folder / "real_galaxy_catalog_26_example.fits").is_file():
        pytest.skip(
            f"no real galaxies in '{folder}': set BTK_PUNET_COSMOS_DIR to the folder that holds "
            "real_galaxy_catalog_26_example.fits"
        )
    return folder
