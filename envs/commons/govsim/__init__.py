"""GovSim: five people share a stock month by month, by integer requests."""
