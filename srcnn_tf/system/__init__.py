"""What is around the program.

`threads`, `files` that are complete or absent, the files of `folders`, the `origins` of results, `devices`
(TensorFlow's), and the `jobs` of a folder.
"""
