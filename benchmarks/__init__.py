"""Measurements, and the tools that make what is shipped: run as modules from the repository's root."""
