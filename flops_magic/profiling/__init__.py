"""What one pass of a model costs, without running it."""
