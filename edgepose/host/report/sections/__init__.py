"""The page's parts: records in, markup out; a part without records is left out."""
