"""From which signal-to-noise ratio on a source matters. It imports nothing: the help reads it."""

# Sources above the first count in completeness. Those above the second can be matched, are
# neighbours, and are marked in training; fainter ones can hardly be found.
COUNTS_SNR, NEIGHBOUR_SNR = 5.0, 2.0
