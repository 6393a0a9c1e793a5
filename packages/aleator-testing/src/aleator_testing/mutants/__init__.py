"""Broken estimators, one thing at a time: every check fails on one of them, every one of them fails a check."""
