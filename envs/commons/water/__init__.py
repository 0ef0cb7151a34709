"""Water: four valves on one renewable pool."""
