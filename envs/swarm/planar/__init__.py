"""The plane that robots share out: moves, the bookkeeping of costs, views, planners, scenery."""
