"""What a run does: its passes, steps, processes and devices."""
