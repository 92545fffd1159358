"""Translation: gettext catalogues, and numbers, units and times in the reader's notation.

Start with `translation`.
"""
