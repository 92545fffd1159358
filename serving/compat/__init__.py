"""The Python API of the original system on top of this one.

Reading order: `engine`, `sensor_manager`.
"""
