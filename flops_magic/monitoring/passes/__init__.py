"""One pass of one model: where it enters, what it is, and who counts it."""
