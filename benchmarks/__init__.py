"""Measurements, and tools that make what is shipped. Run them from the repository's root: `python -m benchmarks.train`.

reproduce   scores of all shipped weights next to published ones -> docs/results.md (published: the published values)
train       training speed next to Keras, PyTorch and the reference's way
data        preparing training data, and memory with many images
inference   speed and accuracy of upscaling next to other engines (engines: how each is run)
previous    speed and memory of this checkout next to those of another commit (network: the network alone)
curves      PSNR by iteration, next to the authors' own training
compression what each of the weights gains on images of lossy formats
contrast    what upscaling gains on data that fill a part of their range
demo        speed of the page in the browser
figures     the figures of docs/how-it-works.md
ship        copies the weights of a finished run into the package

`common` has what several of them use. requirements-bench.txt has the competitors, and matplotlib.
"""
