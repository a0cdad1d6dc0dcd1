"""Codecs turn model outputs into keypoints, and keypoints into training targets.

A codec works in pixels of the model's input; the pipeline maps them to the image.
"""
