"""SRCNN in TensorFlow and Keras: a faithful port of tegg89/SRCNN-Tensorflow, taken further."""

__version__ = "0.1.0"
