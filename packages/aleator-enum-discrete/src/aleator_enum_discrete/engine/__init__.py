"""Sums over discrete variables of products of tables, with plates, in any semiring: no sites, only tensors.

``contraction`` and ``assignments`` are what the rest of the package calls: sums, marginals, joint maxima and draws.
``elimination`` finds a plan for a structure of names and sizes, ``execution`` runs it, and the ``chain`` modules sum
long chains at once.
"""
