"""The forecaster: Prophet fitted from its Gram matrix, autoregression on its residuals, intervals.

Reading order: `forecaster`, `fitted_forecaster`, `structures`, `prophet_model`, `gram_fit`, `rolling_origin`,
`intervals`, `metrics`, `serialization`.
"""
