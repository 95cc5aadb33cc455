"""The processes that a run starts: each writes what it counted, one adds them up."""
