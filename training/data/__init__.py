"""Sensors and their readings: what is known of each sensor, and every value it sent, stored once.

Reading order: `sensors`, `sensor_sources`, `readings`, `merging`.
"""
