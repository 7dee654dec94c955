"""Places, fluxes and images of the sources of a scene: one fit of all, and what it says of each."""
