"""Measures Towerlog against a bare floor; `python bench/run.py` is the way in, README.md the guide."""
