"""The machine that this runs on: its memory, its threads, and what to write beside a figure."""
