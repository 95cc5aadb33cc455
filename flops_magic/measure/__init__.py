"""What ran: operation counts, passes, trainers, sensors, provenance."""
