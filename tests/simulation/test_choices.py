import btk
import numpy as np
import pytest
from btk.catalog import CatsimCatalog

from btk_punet import EuclidCatalog, EuclidGroupSampling, get_euclid_survey
from btk_punet.errors import CatalogError, InputError, InputTypeError
from btk_punet.simulation.choices import (
    choose_catalog,
    choose_sampling,
    choose_survey,
    make_generator,
    open_cosmos,
)
from btk_punet.simulation.survey import reference_band


@pytest.fixture(scope="module")
def survey():
    return get_euclid_survey()


@pytest.fixture(scope="module")
def catalog():
    return EuclidCatalog.simulate(50, seed=1)


def test_catalog_is_passed_on_simulated_or_read(tmp_path, survey, catalog):
    assert choose_catalog(catalog, survey) is catalog
    path = tmp_path / "galaxies.ecsv"
    catalog.table.write(path)
    read = choose_catalog(path, survey)
    assert isinstance(read, EuclidCatalog)
    np.testing.assert_array_equal(read.table["IE_ab"], catalog.table["IE_ab"])
    simulated = choose_catalog("simulate", survey, seed=3).table["IE_ab"]
    np.testing.assert_array_equal(
        simulated, EuclidCatalog.simulate(len(simulated), 3).table["IE_ab"]
    )


def test_catalog_for_another_survey_needs_no_euclid_magnitude(tmp_path, catalog):
    table = catalog.table.copy()
    for band in "ugrizy":
        table[f"{band}_ab"] = table["IE_ab"]
    table.remove_columns(["IE_ab"])
    table.write(tmp_path / "lsst.fits")
    lsst = btk.survey.get_surveys("LSST")
    read = choose_catalog(tmp_path / "lsst.fits", lsst)
    assert isinstance(read, CatsimCatalog)
    assert choose_sampling("groups", read, lsst).mag_name == "i_ab"
    with pytest.raises(CatalogError, match=r"lacks the column\(s\) \['IE_ab'\]"):
        choose_catalog(tmp_path / "lsst.fits", get_euclid_survey())


def test_unknown_names(survey, catalog):
    with pytest.raises(
        InputError, match="Unknown survey 'Roamn': expected 'euclid', or one of BTK's: .*LSST"
    ):
        choose_survey("Roamn", 1, 0.0, 0.16)
    with pytest.raises(InputError, match="Unknown sampling 'group'.*'groups', 'pairs', 'fields'"):
        choose_sampling("group", catalog, survey)
    with pytest.raises(CatalogError, match="does not exist"):
        choose_catalog("no/such/file.fits", survey)
    with pytest.raises(InputTypeError, match="got ndarray"):
        make_generator(np.zeros(3), EuclidGroupSampling(), survey)


def test_cosmos_folder_without_a_catalog(tmp_path):
    with pytest.raises(CatalogError, match="Expected one real-galaxy catalog .* found 0"):
        open_cosmos(tmp_path)


def test_options_reach_the_survey_and_the_sampling(catalog):
    survey = choose_survey("euclid", 2, 3.0, 0.18)
    assert (survey.n_exposures, survey.read_noise) == (2, 3.0)
    assert choose_sampling("pairs", catalog, survey, max_separation=0.7).max_separation == 0.7
    assert choose_survey("LSST", 2, 3.0, 0.18).name == "LSST"


def test_reference_band():
    assert reference_band(get_euclid_survey()) == 0
    lsst = btk.survey.get_surveys("LSST")
    assert lsst.available_filters[reference_band(lsst)] == "i"
