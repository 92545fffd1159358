"""Stored scores and forecasts: one row per reading and version, written once.

Reading order: `store`, `rows`, `upsert`, `write_queue`.
"""
