"""How good are the outlines? Masks of detections against the footprints of sources."""
