"""Aleator and its peers, measured side by side: start ``run.py``; docs/performance.md says how to read its table."""
