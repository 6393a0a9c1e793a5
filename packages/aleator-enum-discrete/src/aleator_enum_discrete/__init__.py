"""Exact sums over discrete sites: contraction of tables on graphs with plates and time."""
