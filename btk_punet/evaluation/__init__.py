"""From catalogs of detections to tables: matching, limits, metrics, comparison, report."""
