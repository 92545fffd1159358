"""Helpers without a domain: arrays, times, sampling, number formatting, the user's name, garbage collection.

Reading order: `arrays`, `times`, `sampling`, `formatting`, `downsampling`.
"""
