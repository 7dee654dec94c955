"""What can be chosen by name: catalogs, surveys and samplings, and the generator they make."""

from pathlib import Path

from btk.catalog import Catalog, CatsimCatalog, CosmosCatalog
from btk.sampling_functions import SamplingFunction
from btk.survey import Survey, get_surveys
from surveycodex import available_surveys

from btk_punet.errors import CatalogError, InputError, InputTypeError
from btk_punet.simulation.catalog import EuclidCatalog, read_table
from btk_punet.simulation.generator import EuclidGenerator, RealGalaxyGenerator
from btk_punet.simulation.sampling import SAMPLINGS
from btk_punet.simulation.scenes import SceneGenerator
from btk_punet.simulation.survey import get_euclid_survey, reference_band

# The population from which a run draws, with replacement, when no catalog is given.
SIMULATED_GALAXIES = 50_000


def choose_catalog(choice: str | Path | Catalog, survey: Survey, seed: int = 0) -> Catalog:
    """Return a catalog by its name.

    Args:
        choice: ``"simulate"`` (a population like Euclid's), ``"cosmos:DIR"`` (real galaxies in
            GalSim's format), the path of a CatSim-like table, or a BTK catalog.
        survey: The survey that the catalog is for.
        seed: Seed of a simulated population.

    Raises:
        CatalogError: if the files are not there or hold no such catalog.
    """
    if isinstance(choice, Catalog):
        return choice
    text = str(choice)
    if text == "simulate":
        return EuclidCatalog.simulate(SIMULATED_GALAXIES, seed)
    if text.startswith("cosmos:"):
        return open_cosmos(text.removeprefix("cosmos:"))
    if is_euclid(survey):
        return EuclidCatalog.from_file(text)
    return CatsimCatalog(read_table(text))


def open_cosmos(folder: str | Path) -> CosmosCatalog:
    """Return BTK's catalog of the real galaxies in a folder in GalSim's format.

    Galaxies are selected at GalSim's level "marginal" where the folder has the file for it (the
    full COSMOS sample has), else all are taken.

    Raises:
        CatalogError: if the folder does not hold one pair ``NAME.fits``, ``NAME_fits.fits``.
    """
    folder = Path(folder)
    pairs = [
        (main, fits)
        for fits in sorted(folder.glob("*_fits.fits"))
        if (main := fits.with_name(fits.name.replace("_fits.fits", ".fits"))).is_file()
    ]
    if len(pairs) != 1:
        raise CatalogError(
            f"Expected one real-galaxy catalog (NAME.fits with NAME_fits.fits) in '{folder}', "
            f"found {len(pairs)}. GalSim's galsim_download_cosmos brings the COSMOS sample."
        )
    main, fits = pairs[0]
    selection = main.with_name(main.stem + "_selection.fits")
    level = "marginal" if selection.is_file() else "none"
    return CosmosCatalog.from_file((str(main), str(fits)), exclusion_level=level)


def choose_survey(choice: str | Survey, n_exposures: int, read_noise: float, psf) -> Survey:
    """Return a survey by its name.

    Args:
        choice: ``"euclid"``, the name of any of BTK's surveys, or a BTK survey.
        n_exposures: Exposures of ``"euclid"``.
        read_noise: Read noise of ``"euclid"`` [electron].
        psf: PSF of ``"euclid"``, as for `get_euclid_survey`.

    Raises:
        InputError: if there is no survey of that name.
    """
    if isinstance(choice, Survey):
        return choice
    if choice == "euclid":
        return get_euclid_survey(n_exposures, read_noise, psf)
    if choice not in available_surveys:
        raise InputError(
            f"Unknown survey {choice!r}: expected 'euclid', or one of BTK's: "
            f"{', '.join(sorted(available_surveys))}."
        )
    return get_surveys(choice)


def choose_sampling(
    choice: str | SamplingFunction, catalog: Catalog, survey: Survey, **options
) -> SamplingFunction:
    """Return a sampling function by its name.

    Args:
        choice: ``"groups"``, ``"pairs"``, ``"fields"``, or a BTK sampling function.
        catalog: The catalog to sample, for the name of its magnitude.
        survey: The survey to draw.
        options: Further arguments of the sampling.

    Raises:
        InputError: if there is no sampling of that name.
    """
    if isinstance(choice, SamplingFunction):
        return choice
    if choice not in SAMPLINGS:
        raise InputError(f"Unknown sampling {choice!r}: expected one of {list(SAMPLINGS)}.")
    return SAMPLINGS[choice](mag_name=magnitude_column(catalog, survey), **options)


def choose_generator(
    survey: Survey,
    catalog: str | Path | Catalog,
    sampling: str | SamplingFunction,
    batch_size: int,
    seed: int,
) -> SceneGenerator:
    """Return the generator of a run, whose catalog and sampling may be given by name.

    Args and Raises are those of `choose_catalog`, `choose_sampling` and `make_generator`.
    """
    chosen = choose_catalog(catalog, survey, seed)
    placing = choose_sampling(sampling, chosen, survey)
    return make_generator(chosen, placing, survey, batch_size=batch_size, seed=seed)


def survey_of(generator: SceneGenerator) -> Survey:
    """Return the one survey that a generator draws.

    Raises:
        InputTypeError: for something else than a `SceneGenerator`, or one of several surveys.
    """
    if not isinstance(generator, SceneGenerator) or len(generator.surveys) != 1:
        raise InputTypeError(
            "generator must be a SceneGenerator (EuclidGenerator or RealGalaxyGenerator) of one "
            f"survey, got {type(generator).__name__}."
        )
    (survey,) = generator.surveys.values()
    return survey


def make_generator(
    catalog: Catalog, sampling: SamplingFunction, survey: Survey, **options
) -> SceneGenerator:
    """Return the generator that draws a kind of catalog, with the options of `SceneGenerator`.

    Raises:
        InputTypeError: if no generator draws such catalogs.
    """
    if isinstance(catalog, CosmosCatalog):
        return RealGalaxyGenerator(catalog, sampling, survey, **options)
    if isinstance(catalog, EuclidCatalog | CatsimCatalog):
        return EuclidGenerator(catalog, sampling, survey, **options)
    raise InputTypeError(
        "Expected an EuclidCatalog, or BTK's CatsimCatalog or CosmosCatalog; got "
        f"{type(catalog).__name__}."
    )


def magnitude_column(catalog: Catalog, survey: Survey) -> str:
    """Return the column of a catalog that holds the magnitude in the reference band."""
    if isinstance(catalog, CosmosCatalog):
        return "MAG"
    return f"{survey.available_filters[reference_band(survey)]}_ab"


def is_euclid(survey: Survey) -> bool:
    """Tell whether a survey has the Euclid VIS band."""
    return survey.available_filters == ["IE"]
