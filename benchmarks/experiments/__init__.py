"""Trains variants of the network to compare them, as the paper does and for decisions of this project."""
