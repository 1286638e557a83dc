"""Image files, colour, resizing and metrics."""
