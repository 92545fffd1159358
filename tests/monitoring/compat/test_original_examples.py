"""The original's four examples as they were written: only imports, ids and the clock of tests differ."""
