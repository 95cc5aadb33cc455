"""Sourced facts: base models, architectures, accelerators."""
