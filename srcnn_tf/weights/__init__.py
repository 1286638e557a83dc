"""Weights: the shipped files, each with a JSON file that says how it was made; `store` finds, loads and saves them."""
