"""Trains and tests SRCNN, the super-resolution network of Dong et al., and upscales images with it.

flags -> Config -> train | evaluate | upscale | export | fetch

flags       srcnn_tf/cli.py                       python main.py --help
Config      srcnn_tf/config.py
train       srcnn_tf/training/train.py            python main.py --is_train=True
evaluate    srcnn_tf/testing/evaluate.py          python main.py --is_train=False --image_index=all
upscale     srcnn_tf/upscaling/image_files.py     python main.py --input=photo.jpg --scale=3
export      srcnn_tf/export.py                    python main.py --export=models
fetch       srcnn_tf/datasets/paper.py            python main.py --fetch=T91,Set5,Set14
"""

import sys

try:
    from srcnn_tf.cli import run
except ImportError as error:
    sys.exit(f"{error}: expected Python 3.11 or later, and the packages: pip install -r requirements.txt")

if __name__ == "__main__":
    sys.exit(run())
