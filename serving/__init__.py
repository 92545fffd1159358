"""Is this reading odd, what comes next, for any sensor."""
