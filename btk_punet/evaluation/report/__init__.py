"""One renderer for each format: HTML, LaTeX, ECSV."""
