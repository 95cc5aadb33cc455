"""What a person sees: text, card, gauge, tables, plots."""
