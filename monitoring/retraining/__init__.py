"""When to retrain, and whether a challenger replaces the champion.

Reading order: `need`, `replay`, `challenger_promotion`.
"""
