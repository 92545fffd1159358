"""Notice when data or models stop being what they were, and tell someone."""
