import numpy as np

from btk_punet import EuclidGroupSampling
from btk_punet.simulation.seeds import numpy_global_seed, reseeded


def test_the_function_given_is_left_as_it_is():
    sampling = EuclidGroupSampling(seed=3)
    before = sampling.rng.bit_generator.state
    seed = np.random.SeedSequence(7)
    one, same = (reseeded(sampling, seed).rng.random() for _ in range(2))
    assert one == same == np.random.default_rng(seed).random()
    assert sampling.rng.bit_generator.state == before


def test_the_global_stream_is_put_back():
    np.random.seed(1)  # noqa: NPY002
    expected = np.random.random(2)  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    with numpy_global_seed(np.random.SeedSequence(2)):
        inside = np.random.random()  # noqa: NPY002
    assert np.random.random(2).tolist() == expected.tolist()  # noqa: NPY002
    assert inside not in expected
