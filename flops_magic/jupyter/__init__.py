"""The notebook: magics, views of a run, server, headless execution."""
