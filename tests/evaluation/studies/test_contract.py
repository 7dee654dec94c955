"""What every registered study keeps: names, descriptions, formats, any order of batches."""
