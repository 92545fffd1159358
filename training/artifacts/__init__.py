"""Files of fitted models and archives: native formats, allow-listed types, SHA-256.

Start with `model_files`; `skops_packing` writes scikit-learn objects, `archive` is the ZIP file of a backup.
"""
