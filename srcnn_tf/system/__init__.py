"""What is around the program: `threads`, whole `files`, `devices` (TensorFlow's), and the `jobs` of a folder."""
