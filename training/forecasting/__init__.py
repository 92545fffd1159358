"""The forecaster: Prophet fitted from its Gram matrix, autoregression on its residuals, intervals, naive
forecasts.

Reading order: `forecaster`, `fitted_forecaster`, `structures`, `gram_fit`, `intervals`, `metrics`,
`serialization`.
"""
