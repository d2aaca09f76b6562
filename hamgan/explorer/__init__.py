"""A web page to explore a trained generator, made of pictures that are computed beforehand."""
