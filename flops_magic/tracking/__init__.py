"""One run: its start, its steps, its decision, its record."""
