"""Training: a bank of noiseless galaxies, and the stamps of blends composed from it."""
