"""Traffic junction: cars on fixed routes choose between gas and brake, and must not share a cell."""
