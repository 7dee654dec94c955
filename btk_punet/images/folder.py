"""The folder of a run of `detect`: whose it is, what it holds, written and read."""

from __future__ import annotations

import io
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS

from btk_punet.errors import InputError, RunExistsError
from btk_punet.files import write_file, write_json

RUN_FILE, CATALOG_FILE, LABELS_FILE = "run.json", "catalog.fits", "labels.fits"
PROBABILITY_FILE, CANDIDATES_FILE = "probability.fits", "candidates.fits"
PARTS = "parts"
