"""Are blends recognized? What becomes of each true region of several sources."""
