"""Small helpers without a domain: arrays, times, number formatting, the user's name, garbage collection.

Start with `formatting`.
"""
