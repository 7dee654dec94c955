"""The deblenders that can be chosen by name.

A new one takes a file with its class, and a line here. This module imports nothing, so that --help
answers at once; a class is imported when it is first chosen.
"""

# Name -> module and class.
DEBLENDERS = {
    "sep": "btk_punet.deblending.sep:SepDeblender",
    "source-extractor": "btk_punet.deblending.source_extractor:SourceExtractorDeblender",
    "photutils": "btk_punet.deblending.photutils:PhotutilsDeblender",
    "probaunet": "btk_punet.deblending.deblender:ProbaUNetDeblender",
    "scarlet2": "btk_punet.deblending.scarlet2:Scarlet2Deblender",
    "btk-peak-local-max": "btk.deblend:PeakLocalMax",
    "btk-sep-single-band": "btk.deblend:SepSingleBand",
    "btk-sep-multi-band": "btk.deblend:SepMultiBand",
    "btk-scarlet": "btk.deblend:Scarlet",
}

# Those of a comparison for which none are named, where they are available.
DEFAULTS = ("sep", "source-extractor", "probaunet")

# What BTK's classes do not say themselves: the package that they need, and how to get it.
NEEDED_PACKAGES = {
    "btk-scarlet": (
        "scarlet",
        'is not on PyPI: pip install "autograd<1.9" pybind11 peigen setuptools wheel, then '
        "pip install --no-build-isolation git+https://github.com/pmelchior/scarlet.git.",
    ),
}
