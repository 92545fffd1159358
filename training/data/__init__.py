"""Sensors and their readings: the properties of each sensor, and every value it sent, stored once.

Reading order: `sensors`, `sensors_file`, `sensor_store`, `readings`, `merging`, `maintenance_filter`.
"""
