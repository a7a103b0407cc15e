"""aetool: image autoencoders on the command line."""

__version__ = "1.0.0"
