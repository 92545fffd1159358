"""Load files of readings: parse, validate each row, report what was accepted, corrected or refused.

Reading order: `load_files`, `load_session`, `row_validation`, `load_report`, `layouts`, `table_files`.
"""
