"""BTK generators that draw Euclid galaxies fast, and real galaxies, scene by scene."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import galsim
import numpy as np
from astropy.table import Table
from btk.catalog import Catalog
from btk.draw_blends import CosmosGenerator
from btk.survey import Filter, Survey

from btk_punet.errors import CatalogError
from btk_punet.simulation.rendering import Part, StampRenderer, source_components, stamp_renderer
from btk_punet.simulation.scenes import SceneGenerator
from btk_punet.simulation.survey import background_variance, flux_electrons, pixel_scale_arcsec


class EuclidGenerator(SceneGenerator):
    """Draws the galaxies of an `EuclidCatalog` or of a BTK ``CatsimCatalog``.

    The catalog needs a magnitude for each of the survey's filters (``IE_ab`` for Euclid). Takes
    the arguments of BTK's ``CatsimGenerator`` and gives the same ``BlendBatch``. Each source is
    drawn on the stamp it needs; `SceneGenerator` says how scenes are seeded.
    """

    compatible_catalogs = ("EuclidCatalog", "CatsimCatalog")
    kind_of_galaxies: str | None = "smooth"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The PSF and its renderer, for each survey and filter.
        self._renderers: dict[tuple[str, str], tuple[galsim.GSObject, StampRenderer]] = {}
        super().__init__(*args, **kwargs)

    def __getstate__(self) -> dict:
        """Return what is pickled: all but the renderers, which are large and quickly made."""
        return {**self.__dict__, "_renderers": {}}

    def _check_compatibility(self, survey: Survey) -> None:
        if self.catalog.name not in self.compatible_catalogs:
            raise CatalogError(
                f"{type(self).__name__} draws catalogs of type {self.compatible_catalogs}, got "
                f"{self.catalog.name}. For real galaxies: RealGalaxyGenerator."
            )
        needed = [f"{band}_ab" for band in survey.available_filters]
        needed += ["fluxnorm_disk", "fluxnorm_bulge", "fluxnorm_agn"]
        needed += ["a_d", "b_d", "a_b", "b_b", "pa_disk", "pa_bulge"]
        missing = [name for name in needed if name not in self.catalog.table.colnames]
        if missing:
            raise CatalogError(
                f"The catalog lacks the column(s) {missing} that are needed to draw the filters "
                f"{survey.available_filters} of {survey.name}; it has "
                f"{self.catalog.table.colnames}."
            )

    def render_single(self, entry, filt, psf, survey) -> galsim.Image:
        """Return the image of one source alone, of the stamp's size, as BTK defines it."""
        size = self._get_pix_stamp_size(survey)
        image = np.zeros((size, size))
        self._draw_source(image, entry, filt, psf, survey)
        return galsim.Image(image, scale=pixel_scale_arcsec(survey))

    def _draw_source(self, image, entry, filt, psf, survey) -> tuple[slice, slice] | None:
        source = dict(zip(entry.colnames, entry.values(), strict=True))
        flux = float(flux_electrons(self._magnitude(source, filt), filt))
        # Without a magnitude in this filter (NaN) there is nothing to draw either.
        parts = self._parts(source, flux) if flux > 0 else []
        if not parts:
            entry[f"not_drawn_{filt.name}"] = 1
            return None
        stamp = self._renderer(survey, filt, psf).draw(
            parts, source["x_peak"], source["y_peak"], len(image), self._transform(source)
        )
        if stamp is None:
            return None
        pixels, rows, cols = stamp
        image[rows, cols] = pixels
        return rows, cols

    def _magnitude(self, source: Mapping, filt: Filter) -> Any:
        """Return the AB magnitude of a source in a filter."""
        return source[f"{filt.name}_ab"]

    def _parts(self, source: Mapping, flux: float) -> Sequence[Part]:
        """Return what a source of this flux [electron] is drawn from."""
        return source_components(source, flux)

    def _renderer(self, survey: Survey, filt: Filter, psf: galsim.GSObject) -> StampRenderer:
        known, renderer = self._renderers.get((survey.name, filt.name), (None, None))
        if renderer is None or known is not psf:
            sigma = math.sqrt(background_variance(survey, filt))
            renderer = stamp_renderer(psf, pixel_scale_arcsec(survey), sigma)
            self._renderers[survey.name, filt.name] = psf, renderer
        return renderer

    def _transform(self, source: dict) -> np.ndarray | None:
        """Return the matrix of the source's rotation and shear, None where it has neither."""
        matrix = None
        if source["btk_rotation"] != 0:
            angle = math.radians(source["btk_rotation"])
            cos, sin = math.cos(angle), math.sin(angle)
            matrix = np.array([[cos, -sin], [sin, cos]])
        if self.apply_shear:
            if "g1" not in source or "g2" not in source:
                raise CatalogError(
                    "apply_shear=True needs the columns g1 and g2 in the table that the sampling "
                    "function returns."
                )
            shear = galsim.Shear(g1=source["g1"], g2=source["g2"]).getMatrix()
            matrix = shear if matrix is None else shear @ matrix
        return matrix


class RealGalaxyGenerator(SceneGenerator, CosmosGenerator):
    """BTK's ``CosmosGenerator`` (real HST galaxies) with the scene seeds of `SceneGenerator`.

    Takes, besides those of `SceneGenerator`, BTK's ``gal_type`` (``"real"`` or ``"parametric"``)
    and ``noise_pad_size``.
    """

    def __init__(self, catalog: Catalog, *args: Any, **kwargs: Any) -> None:
        # The half-done rename in BTK's CosmosCatalog leaves a column that differs from another
        # by case alone, which HDF5 tables, and so BlendBatch.save, do not take.
        catalog = copy.copy(catalog)
        catalog.table = _without_case_duplicates(catalog.table)
        super().__init__(catalog, *args, **kwargs)
        self.kind_of_galaxies = "real" if self.gal_type == "real" else "smooth"


def _without_case_duplicates(table: Table) -> Table:
    seen: set[str] = set()
    keep = []
    # Lower-case names first: 'ra', which BTK's tools read, wins over 'RA'.
    for name in sorted(table.colnames, key=lambda name: (name != name.lower(), name)):
        if name.lower() not in seen:
            seen.add(name.lower())
            keep.append(name)
    return table[[name for name in table.colnames if name in keep]]
