"""Training and test images that the program provides itself. Read `samples` first, then `paper`.

samples     lists the images of a folder; where a default folder is empty, writes scikit-image's sample images into it
paper       downloads T91, Set5 and Set14 for `--fetch`, checked against the SHA-256 sums in `paper.sha256`
"""
