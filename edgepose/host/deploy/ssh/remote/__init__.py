"""Scripts that run on the device, sent over ssh; each is whole in its file and needs Python 3.8 alone."""
