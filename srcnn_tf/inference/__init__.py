"""Testing and upscaling."""
