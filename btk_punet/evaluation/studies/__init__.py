"""The questions that a comparison answers, a module or folder each."""
