"""Peers measured in the same run as the product; each module prints a table and writes JSON."""
