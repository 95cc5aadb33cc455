"""What lasts: notebooks, files and their verification."""
