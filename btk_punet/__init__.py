"""btk_punet: Euclid-like blends, detectors of blended galaxies, and what they miss, through BTK.

Public names are listed in ``__init__.pyi``, for this module and for type checkers alike. They are
loaded when first used, so that ``import btk_punet`` costs next to nothing and loads neither
matplotlib nor TensorFlow.
"""

import lazy_loader

__version__ = "0.1.0"  # the one place where the version stands

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
