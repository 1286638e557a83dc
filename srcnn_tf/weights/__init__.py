"""Weights that come with the package, each with a JSON file that says how they were made."""
