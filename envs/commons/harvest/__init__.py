"""Commons Harvest: apples that grow back where apples are left."""
