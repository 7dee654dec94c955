"""Errors and warnings of btk_punet.

Every error is a `BtkPunetError` and also the built-in kind that Python users would expect, so
``except ValueError`` works as well as ``except BtkPunetError``. A message says what was expected,
what came, and what to do.
"""


class BtkPunetError(Exception):
    """Base of every error that btk_punet raises on purpose."""


class InputError(BtkPunetError, ValueError):
    """An argument has the right type and a value that cannot be used."""


class InputTypeError(BtkPunetError, TypeError):
    """An argument has the wrong type."""


class CatalogError(InputError):
    """A catalog is empty, lacks a column, or holds values that cannot be drawn."""


class RunExistsError(BtkPunetError, FileExistsError):
    """An output folder holds another run, whose results would be overwritten."""


class MissingProgramError(BtkPunetError, FileNotFoundError):
    """A program that this package's installation does not bring, such as source-extractor."""


class ProgramFailedError(BtkPunetError, RuntimeError):
    """An external program was run and failed; the message holds what it printed."""


class BatchFailedError(BtkPunetError, RuntimeError):
    """A batch of a run failed; the message names the batch and how to draw it again."""


class MethodError(BtkPunetError, ValueError):
    """A method changed the scenes that it was given, or returned what cannot be used."""


class ClusterError(BtkPunetError, RuntimeError):
    """Workers cannot be started or reached, or cannot do the work; the message says why."""


class TrainingFailedError(BtkPunetError, RuntimeError):
    """Training cannot go on; the last checkpoint is kept, and the message says what to change."""


class BtkPunetWarning(UserWarning):
    """Base of the warnings of btk_punet: something was repaired or left out, and flagged."""


class IncompleteRunWarning(BtkPunetWarning):
    """A run is done, and methods are missing on some of its batches, since they failed there."""
