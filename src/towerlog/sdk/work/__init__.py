"""Carrying out runs: the worker that claims them, the lane under which each is reported, and `towerlog exec`."""
