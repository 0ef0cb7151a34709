"""Clean Up: apples grow in the orchard only while somebody cleans the river."""
