"""Weights: the shipped files, each with a JSON file that says how it was made.

`search` says where weights are; `store` reads them, without TensorFlow; `models` makes Keras models of them, and saves
these.
"""
