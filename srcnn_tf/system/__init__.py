"""What is around the program.

`threads`, `files` that are complete or absent, `devices` (TensorFlow's), and the `jobs` of a folder.
"""
