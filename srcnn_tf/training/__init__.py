"""Training: from a folder of images to weights.

Read in this order: `train` (the run and its loop), `patches` (an epoch's patches and batches), `step` (from a batch to
updated weights), `workers` (several GPUs and machines), `overparameterization` and `soap` (what the step trains, and
how), `schedule` (the learning rate), `checkpoint` (what is saved to resume), `callbacks` (what is printed and logged).
"""
