"""Weights: the shipped files, each with a JSON file that says how it was made, and `store`, which finds and loads them."""
