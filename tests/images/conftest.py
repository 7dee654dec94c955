"""What tests of images share: the network whose weights were set by hand."""

from tests.deblending.conftest import network  # noqa: F401
