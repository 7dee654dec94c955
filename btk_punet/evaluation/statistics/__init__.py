"""Arrays in, numbers out: fractions with intervals, reliability, counts."""
