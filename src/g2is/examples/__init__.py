"""Examples: read a file, turn each row into token ids with a label mask, keep them in a table."""
