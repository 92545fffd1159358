"""The table of parameters: rows are reused, columns grow."""

import numpy as np

from serving.vectorized.parameter_table import ParameterTable


def test_a_released_row_is_reused_and_columns_widen():
    table = ParameterTable()
    handles = [table.put({"size": number, "course": np.ones(2)}) for number in range(100)]
    del handles[7]

    again = table.put({"size": 7, "course": np.full(5, 3.0)})

    assert again.row == 7
    assert table.column("size")[:100].tolist() == list(range(100))
    assert table.column("course")[[6, 7]].tolist() == [[1, 1, 0, 0, 0], [3, 3, 3, 3, 3]]


def test_a_reader_keeps_its_rows_while_the_table_grows():
    table = ParameterTable()
    first = table.put({"size": 1.0})
    column = table.column("size")

    handles = [table.put({"size": 2.0}) for _ in range(200)]

    assert column[first.row] == table.column("size")[first.row] == 1.0
    assert len(handles) == len({handle.row for handle in handles})
