"""The notebook: magics, what a cell shows, server, headless execution."""
