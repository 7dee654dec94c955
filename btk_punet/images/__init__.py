"""From an image on disk to a catalog: reading, masks and noise, tiles, detections, files."""
