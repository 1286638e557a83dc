"""Trains and tests SRCNN, the super-resolution network of Dong et al.: flags -> Config -> train | evaluate | upscale.

flags       srcnn_tf/cli.py                  python main.py --help
Config      srcnn_tf/config.py
train       srcnn_tf/training/train.py       python main.py --is_train=True
evaluate    srcnn_tf/inference/evaluate.py   python main.py --is_train=False --image_index=all
upscale     srcnn_tf/inference/upscale.py    python main.py --input=photo.jpg --scale=3
fetch       srcnn_tf/datasets/paper.py       python main.py --fetch=T91,Set5,Set14
"""

import sys

from srcnn_tf.cli import run

if __name__ == "__main__":
    sys.exit(run())
