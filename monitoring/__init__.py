"""Notice when data or models stop being what they were, and tell someone.

Reading order: demo (the whole story in one command).
"""
