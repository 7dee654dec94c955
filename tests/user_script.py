"""What a user writes: checked by mypy --strict in test_package.py, and never run."""

from btk_punet import (
    Completeness,
    EuclidCatalog,
    EuclidGenerator,
    EuclidGroupSampling,
    SepDeblender,
    compare,
    get_euclid_survey,
)

survey = get_euclid_survey(n_exposures=4, psf=0.18)
catalog = EuclidCatalog.simulate(20_000, seed=1)
generator = EuclidGenerator(catalog, EuclidGroupSampling(max_number=4), survey, batch_size=50)
deblender, metric = SepDeblender(max_n_sources=20), Completeness(by="magnitude")


def measured(n_batches: int) -> float:
    """Return the completeness of SEP on some batches of groups."""
    for _ in range(n_batches):
        batch = next(generator)
        metric(batch, deblender(batch))
    return float(metric.total()["value"].item())


result = compare("comparison", {"SEP": deblender}, n_blends=200)
print(measured(4), result.tables["headline"], str(result.folder / "report.html"))
