"""Model files coming in: what they are, what is inside, and writing spec and lineage into them."""
