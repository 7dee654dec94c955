"""The questions that a report answers, and which tables and plots belong to which."""

from fnmatch import fnmatchcase
from typing import NamedTuple


class Question(NamedTuple):
    """A section of the report.

    Attributes:
        anchor: Its name in links.
        title: The question.
        lead: What it is about, a sentence.
        names: Patterns of the names of its tables and plots.
    """

    anchor: str
    title: str
    lead: str
    names: tuple[str, ...]


QUESTIONS = (
    Question(
        "found",
        "Which sources are found?",
        "Completeness is the fraction of the true sources that are found; it falls where sources "
        "are faint or have a neighbour nearby.",
        ("completeness_by_*", "efficiency", "count_matrix"),
    ),
    Question(
        "false",
        "Which detections are false?",
        "Purity is the fraction of the detections that are true sources; what is missing from 1 "
        "is noise, and galaxies split into several detections.",
        ("purity_by_*",),
    ),
    Question(
        "equal-purity",
        "Who finds more at the same purity?",
        "Any method finds more if it may make more false detections, so that completeness is "
        "compared fairly at the same purity only.",
        ("ceiling_share", "equal_purity*", "purity_completeness"),
    ),
    Question(
        "positions",
        "How good are the positions?",
        "Asked of the matched sources: how far the detections are from where the sources are.",
        ("positions_by_*",),
    ),
    Question(
        "blends",
        "Are blends recognized?",
        "Asked of each true blend as a whole: whether it is taken for as many sources as it holds.",
        ("outcome*",),
    ),
    Question(
        "outlines",
        "How good are the outlines?",
        "Asked of the pixels that a method gives to each source, against those that it covers.",
        ("segmentation_*", "mask_*"),
    ),
    Question(
        "probabilities",
        "Can the probabilities be trusted?",
        "Of things said to be so with a probability of 0.8, eight in ten should be so.",
        ("*calibration*", "probability_*", "class_*", "blend_identification"),
    ),
    Question(
        "scenes",
        "What do the scenes look like?",
        "Images with the truth and what each method makes of them: the first as they come, the "
        "worst, and the best.",
        ("scenes_*",),
    ),
)
# What belongs to none of them.
MORE = Question("more", "More", "", ())


def question_of(name: str) -> Question:
    """Return the question to which a table or plot of this name belongs."""
    for question in QUESTIONS:
        if any(fnmatchcase(name, pattern) for pattern in question.names):
            return question
    return MORE
