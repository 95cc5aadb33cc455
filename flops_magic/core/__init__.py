"""Arithmetic and law: standard library only."""
