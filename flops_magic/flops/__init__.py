"""FLOP counts: units, profiles, histograms, formulas."""
