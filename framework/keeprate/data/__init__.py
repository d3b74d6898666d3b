"""From a data set to a model's inputs: samples, decoding, preprocessing, the image cache."""
