"""Explicit QDQ: where Q and DQ nodes stand in an ONNX model, and with which scales."""
