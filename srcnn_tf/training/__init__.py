"""Training: from a folder of images to weights.

Read in this order: `train` (the loop), `run` (what a run is made of, and what is saved of it), `recipes` (how to
train), `patches` (an epoch's patches and batches), `step` (from a batch to updated weights), `initialization` (the
weights it starts from), `overparameterization` and `soap` (what the step trains, and how), `schedule` (the learning
rate), `workers` (several GPUs and machines), `checkpoint` (what is saved to resume), `callbacks` (what is printed and
logged).
"""
