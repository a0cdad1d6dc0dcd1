"""Small pose networks with meaning, one file per architecture family (:mod:`tests.support.zoo.catalogue`).

A random backbone, normalized layer by layer on generated marker scenes, and a head fitted by least squares:
seconds to make, the same bytes for the same seed, really finds keypoints, and feels quantization noise as a
trained network does.
"""
