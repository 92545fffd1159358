"""Languages: gettext catalogues, numbers and times as the reader writes them.

Start with `translation`.
"""
