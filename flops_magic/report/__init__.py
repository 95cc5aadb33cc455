"""Documents for the AI Office, authorities and downstream providers."""
