"""What a person sees: text, live gauge, static card, plots."""
