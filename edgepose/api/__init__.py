"""The public Python API: what `import edgepose` offers, and all of it.

Every other module is private: it may change with any release. The names here change only with a decision
record (docs/adr/0043-public-api.md), and tests/unit/test_public_api.py holds them and their signatures.

What runs here is what runs on a device: the same pipeline, the same loop, the same judgement as the commands.
"""
