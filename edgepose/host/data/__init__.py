"""Data folders: drawn figures that exist nowhere, COCO files and manifests."""
